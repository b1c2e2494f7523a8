"""The coarse kind of a library's network, by the module that defines it."""

from collections.abc import Mapping
from types import MappingProxyType

_BY_FAMILY = {
    "cnn": "alexnet densenet efficientnet ghostnet googlenet inception inception_v3 inception_v4 inception_resnet_v2 "
    "mnasnet mobilenet mobilenetv2 mobilenetv3 mobilenet_v2 squeezenet shufflenetv2 vgg xception xception_aligned",
    "residual": "byobnet cspnet dla dpn hrnet regnet res2net resnest resnet resnetv2 resnext senet sknet nfnet",
    "mixer": "mlp_mixer convmixer convnext metaformer poolformer gmlp",
    "transformer": "beit cait coat convit crossvit davit deit efficientformer eva hiera hieradet_sam2 levit maxvit "
    "maxxvit mvitv2 nest pit pvt_v2 swin_transformer swin_transformer_v2 tiny_vit tnt twins vision_transformer "
    "vision_transformer_hybrid vision_transformer_relpos vitamin volo xcit",
}
FAMILIES: Mapping[str, str] = MappingProxyType(
    {module: family for family, modules in _BY_FAMILY.items() for module in modules.split()}
)


def family_of(module: str) -> str:
    """The family, such as "residual" for "timm.models.resnet"; a module that is not listed is a family of its own."""
    last = module.rpartition(".")[2]
    return FAMILIES.get(last, last)
