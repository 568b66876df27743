"""Few-shot classification: one posterior predictive a class, Bayes' rule between them, no training."""

from .augmentation import jitter
from .classifier import FewShotClassifier
from .likelihood import LIKELIHOODS, SharedCovariance, predictive_log_prob

__all__ = ["LIKELIHOODS", "FewShotClassifier", "SharedCovariance", "jitter", "predictive_log_prob"]
