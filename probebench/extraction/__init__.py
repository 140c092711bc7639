"""The only way from images to features: a data set through a backbone into the cache."""

from probebench.extraction.extract import Extracted, extract, feature_key
from probebench.extraction.options import Dtype, Options
from probebench.extraction.plan import Plan, plan
from probebench.progress import Progress

__all__ = ["Dtype", "Extracted", "Options", "Plan", "Progress", "extract", "feature_key", "plan"]
