"""Reading and writing files: whole or not at all, of bounded size, also in object stores."""
