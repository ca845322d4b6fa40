"""What a submitted Strategy names, checked before anything decodes it: classes, codecs, references, sizes.

gufe's decoder imports whatever module a payload names, wherever it stands, and calls what it finds there. So a payload
is read as plain JSON first. An object that gufe reads in a special way passes only where it is known and harmless, and
a class only if an operator allows exactly that one. Nothing that it names is imported or built here.
"""

from alchemiscale_strategist.payloads.check import check_stored_payload, check_strategy_payload
from alchemiscale_strategist.payloads.classes import STRATOCASTER_CLASSES, AllowedClasses, ClassName
from alchemiscale_strategist.payloads.errors import RefusalReason, RejectedPayloadError
from alchemiscale_strategist.payloads.limits import DEFAULT_PAYLOAD_LIMITS, PayloadLimits

__all__ = [
    "DEFAULT_PAYLOAD_LIMITS",
    "STRATOCASTER_CLASSES",
    "AllowedClasses",
    "ClassName",
    "PayloadLimits",
    "RefusalReason",
    "RejectedPayloadError",
    "check_stored_payload",
    "check_strategy_payload",
]
