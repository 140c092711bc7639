"""Which pre-training data and method transfers best, with few labels and with many?"""

__version__ = "0.2.0"
