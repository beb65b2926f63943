"""What files of pictures, sounds and films hold beside them: one format, one reader."""
