"""Few-shot classification: one posterior predictive a class, Bayes' rule between them, no training."""

from .augmentation import jitter
from .classifier import NONE, Answer, FewShotClassifier
from .likelihood import SharedCovariance, predictive_log_prob

__all__ = ["NONE", "Answer", "FewShotClassifier", "SharedCovariance", "jitter", "predictive_log_prob"]
