"""The nodes of ILVR: ComfyUI's vocabulary on one side, the core's on the other."""

from comfy_api.latest import ComfyExtension

from .guidance import ApplyILVR, ConditioningRange, ILVRSampler
from .host.adm_model import register_folder
from .low_pass import ApplyLowPass, BandPassFilter, LowPassFilter, MatchLowFrequencies
from .model import DDPMSampler, LoadUnconditionalModel, RespacedScheduler
from .reference import ExampleReference, NoisedReference
from .sweep import ContactSheet, ILVRSweep

NODES = [
    LowPassFilter,
    NoisedReference,
    ConditioningRange,
    ILVRSampler,
    ApplyILVR,
    ApplyLowPass,
    MatchLowFrequencies,
    LoadUnconditionalModel,
    DDPMSampler,
    RespacedScheduler,
    ILVRSweep,
    ContactSheet,
    ExampleReference,
    BandPassFilter,
]


class Extension(ComfyExtension):
    async def get_node_list(self):
        register_folder()
        return NODES
