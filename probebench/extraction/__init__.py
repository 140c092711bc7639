"""The only way from images to features: a data set through a backbone into the cache."""

from probebench.extraction.extract import extract
from probebench.extraction.jobs import Extracted
from probebench.extraction.options import Dtype, ExtractionOptions
from probebench.extraction.plan import Plan, plan
from probebench.progress import Progress

__all__ = ["Dtype", "Extracted", "ExtractionOptions", "Plan", "Progress", "extract", "plan"]
