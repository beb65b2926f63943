-- Which inputs of the graph name weights by URL, and the folder that each belongs to.
ALTER TABLE jobs ADD COLUMN models TEXT NOT NULL DEFAULT '[]';
