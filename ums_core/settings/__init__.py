"""Settings, and the only reader of the environment."""

from ums_core.settings.database import DatabaseSettings
from ums_core.settings.dynamics import DecayWeights, DynamicsSettings
from ums_core.settings.environment import forget_secrets
from ums_core.settings.maintenance import MaintenanceSettings
from ums_core.settings.model import ModelConfig
from ums_core.settings.monitoring import MonitoringSettings
from ums_core.settings.perf import PerfSettings
from ums_core.settings.ranking import RankingSettings
from ums_core.settings.reference import Setting, reference
from ums_core.settings.security import SecuritySettings
from ums_core.settings.service import ServiceSettings
from ums_core.settings.unified import UnifiedSettings

__all__ = [
    "DatabaseSettings",
    "DecayWeights",
    "DynamicsSettings",
    "MaintenanceSettings",
    "ModelConfig",
    "MonitoringSettings",
    "PerfSettings",
    "RankingSettings",
    "SecuritySettings",
    "ServiceSettings",
    "Setting",
    "UnifiedSettings",
    "forget_secrets",
    "reference",
]
