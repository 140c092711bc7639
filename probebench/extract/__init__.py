"""The only way from images to features: a data set through a backbone into the cache."""

from probebench.extract.clock import Progress
from probebench.extract.options import Dtype, Options
from probebench.extract.plan import Plan, plan
from probebench.extract.run import Extracted, extract, feature_key

__all__ = ["Dtype", "Extracted", "Options", "Plan", "Progress", "extract", "feature_key", "plan"]
