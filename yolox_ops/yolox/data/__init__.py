"""Images and objects, from files or drawn, as batches to train on. Importing it takes OpenCV and NumPy."""
