"""The folder of named workflows: its files, what they say, and what is wrong in them."""
