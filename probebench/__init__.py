"""Which pre-training data and method transfers best, with few labels and with many?"""

__version__ = "0.1.0"
