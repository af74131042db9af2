"""Stands for cuda-python on a machine without a GPU, in processes of tests."""
