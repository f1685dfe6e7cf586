from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_TYPE_LDR_RGBA: _ClassVar[ImageType]
    IMAGE_TYPE_LDR_MONO: _ClassVar[ImageType]
    IMAGE_TYPE_HDR_RGBA: _ClassVar[ImageType]
    IMAGE_TYPE_HDR_MONO: _ClassVar[ImageType]
    IMAGE_TYPE_LDR_MONO_ALPHA: _ClassVar[ImageType]
    IMAGE_TYPE_HDR_MONO_ALPHA: _ClassVar[ImageType]
    IMAGE_TYPE_HALF_RGBA: _ClassVar[ImageType]
    IMAGE_TYPE_HALF_MONO: _ClassVar[ImageType]
    IMAGE_TYPE_HALF_MONO_ALPHA: _ClassVar[ImageType]
    IMAGE_TYPE_BC1_UNORM: _ClassVar[ImageType]
    IMAGE_TYPE_BC3_UNORM: _ClassVar[ImageType]
    IMAGE_TYPE_BC4_SNORM: _ClassVar[ImageType]
    IMAGE_TYPE_BC4_UNORM: _ClassVar[ImageType]
    IMAGE_TYPE_BC6_SHF: _ClassVar[ImageType]
    IMAGE_TYPE_BC6_UHF: _ClassVar[ImageType]
    IMAGE_TYPE_BC7_UNORM: _ClassVar[ImageType]

class NamedColorSpace(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NAMED_COLOR_SPACE_OTHER: _ClassVar[NamedColorSpace]
    NAMED_COLOR_SPACE_SRGB: _ClassVar[NamedColorSpace]
    NAMED_COLOR_SPACE_LINEAR_SRGB: _ClassVar[NamedColorSpace]
    NAMED_COLOR_SPACE_ACES2065_1: _ClassVar[NamedColorSpace]
    NAMED_COLOR_SPACE_ACESCG: _ClassVar[NamedColorSpace]
    NAMED_COLOR_SPACE_XYZ_E: _ClassVar[NamedColorSpace]
    NAMED_COLOR_SPACE_OCIO: _ClassVar[NamedColorSpace]

class PremultipliedAlphaType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREMULTIPLIED_ALPHA_TYPE_NONE: _ClassVar[PremultipliedAlphaType]
    PREMULTIPLIED_ALPHA_TYPE_LINEARIZED: _ClassVar[PremultipliedAlphaType]
    PREMULTIPLIED_ALPHA_TYPE_ENCODED: _ClassVar[PremultipliedAlphaType]

class SubSampleMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SubSampleMode_UNSPECIFIED: _ClassVar[SubSampleMode]
    SUBSAMPLEMODE_NONE: _ClassVar[SubSampleMode]
    SUBSAMPLEMODE_2X2: _ClassVar[SubSampleMode]
    SUBSAMPLEMODE_4X4: _ClassVar[SubSampleMode]

class TonemapBufferType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TONEMAP_BUFFER_TYPE_LDR: _ClassVar[TonemapBufferType]
    TONEMAP_BUFFER_TYPE_HDR_FLOAT: _ClassVar[TonemapBufferType]
    TONEMAP_BUFFER_TYPE_HDR_HALF: _ClassVar[TonemapBufferType]
    TONEMAP_BUFFER_TYPE_COUNT: _ClassVar[TonemapBufferType]

class RenderState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RSTATE_STOPPED: _ClassVar[RenderState]
    RSTATE_WAITING_FOR_DATA: _ClassVar[RenderState]
    RSTATE_RENDERING: _ClassVar[RenderState]
    RSTATE_PAUSED: _ClassVar[RenderState]
    RSTATE_FINISHED: _ClassVar[RenderState]

class ClayMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLAYMODE_NONE: _ClassVar[ClayMode]
    CLAYMODE_GREY: _ClassVar[ClayMode]
    CLAYMODE_COLOR: _ClassVar[ClayMode]

class MemoryLocation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEMORY_LOCATION_DEVICE: _ClassVar[MemoryLocation]
    MEMORY_LOCATION_OUT_OF_CORE: _ClassVar[MemoryLocation]
    MEMORY_LOCATION_PEER_TO_PEER: _ClassVar[MemoryLocation]

class ImageSaveFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_SAVE_FORMAT_PNG_8: _ClassVar[ImageSaveFormat]
    IMAGE_SAVE_FORMAT_PNG_16: _ClassVar[ImageSaveFormat]
    IMAGE_SAVE_FORMAT_EXR_16: _ClassVar[ImageSaveFormat]
    IMAGE_SAVE_FORMAT_EXR_32: _ClassVar[ImageSaveFormat]
    IMAGE_SAVE_FORMAT_TIFF_8: _ClassVar[ImageSaveFormat]
    IMAGE_SAVE_FORMAT_TIFF_16: _ClassVar[ImageSaveFormat]
    IMAGE_SAVE_FORMAT_JPEG: _ClassVar[ImageSaveFormat]

class ExrCompressionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXR_COMPRESSION_TYPE_UNSPECIFIED: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_NO_COMPRESSION: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_RLE: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_ZIPS: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_ZIP: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_PIZ: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_PXR24: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_B44: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_B44A: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_DWAA: _ClassVar[ExrCompressionType]
    EXR_COMPRESSION_TYPE_DWAB: _ClassVar[ExrCompressionType]

class SharedSurfaceType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHARED_SURFACE_TYPE_NONE: _ClassVar[SharedSurfaceType]
    SHARED_SURFACE_TYPE_D3D11: _ClassVar[SharedSurfaceType]

class RenderError(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RENDER_ERROR_NONE: _ClassVar[RenderError]
    RENDER_ERROR_NOT_ENOUGH_DEVICE_MEMORY: _ClassVar[RenderError]
    RENDER_ERROR_NOT_ENOUGH_HOST_MEMORY: _ClassVar[RenderError]
    RENDER_ERROR_KERNEL_FAILED: _ClassVar[RenderError]
    RENDER_ERROR_ACTIVATION_REQUIRED: _ClassVar[RenderError]
    RENDER_ERROR_DEVICE_UNSUPPORTED: _ClassVar[RenderError]
    RENDER_ERROR_PEER_CONNECTION_CLOSED: _ClassVar[RenderError]
    RENDER_ERROR_MODULE_LOAD_FAILED: _ClassVar[RenderError]
    RENDER_ERROR_OSL: _ClassVar[RenderError]
    RENDER_ERROR_OSL_INTERNAL: _ClassVar[RenderError]
    RENDER_ERROR_LOD_DATA: _ClassVar[RenderError]
    RENDER_ERROR_UNSPECIFIED: _ClassVar[RenderError]

class RenderDeviceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RENDER_DEVICE_STATE_UNKNOWN: _ClassVar[RenderDeviceState]
    RENDER_DEVICE_STATE_NOT_SUPPORTED: _ClassVar[RenderDeviceState]
    RENDER_DEVICE_STATE_DISABLED: _ClassVar[RenderDeviceState]
    RENDER_DEVICE_STATE_ENABLED: _ClassVar[RenderDeviceState]
    RENDER_DEVICE_STATE_ACTIVE_OK: _ClassVar[RenderDeviceState]
    RENDER_DEVICE_STATE_ACTIVE_FAILED: _ClassVar[RenderDeviceState]

class RenderPassId(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RENDER_PASS_BEAUTY: _ClassVar[RenderPassId]
    RENDER_PASS_EMIT: _ClassVar[RenderPassId]
    RENDER_PASS_ENVIRONMENT: _ClassVar[RenderPassId]
    RENDER_PASS_DIFFUSE: _ClassVar[RenderPassId]
    RENDER_PASS_DIFFUSE_DIRECT: _ClassVar[RenderPassId]
    RENDER_PASS_DIFFUSE_INDIRECT: _ClassVar[RenderPassId]
    RENDER_PASS_DIFFUSE_FILTER: _ClassVar[RenderPassId]
    RENDER_PASS_REFLECTION: _ClassVar[RenderPassId]
    RENDER_PASS_REFRACTION: _ClassVar[RenderPassId]
    RENDER_PASS_TRANSMISSION: _ClassVar[RenderPassId]
    RENDER_PASS_SSS: _ClassVar[RenderPassId]
    RENDER_PASS_POST_PROC: _ClassVar[RenderPassId]
    RENDER_PASS_LAYER_SHADOWS: _ClassVar[RenderPassId]
    RENDER_PASS_AMBIENT_LIGHT: _ClassVar[RenderPassId]
    RENDER_PASS_SUNLIGHT: _ClassVar[RenderPassId]
    RENDER_PASS_NOISE_BEAUTY: _ClassVar[RenderPassId]
    RENDER_PASS_SHADOW: _ClassVar[RenderPassId]
    RENDER_PASS_IRRADIANCE: _ClassVar[RenderPassId]
    RENDER_PASS_VOLUME: _ClassVar[RenderPassId]
    RENDER_PASS_DENOISE_NORMAL: _ClassVar[RenderPassId]
    RENDER_PASS_BEAUTY_DENOISER_OUTPUT: _ClassVar[RenderPassId]
    RENDER_PASS_DENOISE_ALBEDO: _ClassVar[RenderPassId]
    RENDER_PASS_MIST: _ClassVar[RenderPassId]
    RENDER_PASS_CAMERA_MASK: _ClassVar[RenderPassId]
    RENDER_PASS_ALPHA: _ClassVar[RenderPassId]
    RENDER_PASS_GEOMETRIC_NORMAL: _ClassVar[RenderPassId]
    RENDER_PASS_SHADING_NORMAL: _ClassVar[RenderPassId]
    RENDER_PASS_POSITION: _ClassVar[RenderPassId]
    RENDER_PASS_Z_DEPTH: _ClassVar[RenderPassId]
    RENDER_PASS_MATERIAL_ID: _ClassVar[RenderPassId]
    RENDER_PASS_UV_COORD: _ClassVar[RenderPassId]
    RENDER_PASS_WIREFRAME: _ClassVar[RenderPassId]
    RENDER_PASS_OBJECT_ID: _ClassVar[RenderPassId]
    RENDER_PASS_AMBIENT_OCCLUSION: _ClassVar[RenderPassId]
    RENDER_PASS_MOTION_VECTOR: _ClassVar[RenderPassId]
    RENDER_PASS_OPACITY: _ClassVar[RenderPassId]
    RENDER_PASS_ROUGHNESS: _ClassVar[RenderPassId]
    RENDER_PASS_UNKNOWN: _ClassVar[RenderPassId]
IMAGE_TYPE_LDR_RGBA: ImageType
IMAGE_TYPE_LDR_MONO: ImageType
IMAGE_TYPE_HDR_RGBA: ImageType
IMAGE_TYPE_HDR_MONO: ImageType
IMAGE_TYPE_LDR_MONO_ALPHA: ImageType
IMAGE_TYPE_HDR_MONO_ALPHA: ImageType
IMAGE_TYPE_HALF_RGBA: ImageType
IMAGE_TYPE_HALF_MONO: ImageType
IMAGE_TYPE_HALF_MONO_ALPHA: ImageType
IMAGE_TYPE_BC1_UNORM: ImageType
IMAGE_TYPE_BC3_UNORM: ImageType
IMAGE_TYPE_BC4_SNORM: ImageType
IMAGE_TYPE_BC4_UNORM: ImageType
IMAGE_TYPE_BC6_SHF: ImageType
IMAGE_TYPE_BC6_UHF: ImageType
IMAGE_TYPE_BC7_UNORM: ImageType
NAMED_COLOR_SPACE_OTHER: NamedColorSpace
NAMED_COLOR_SPACE_SRGB: NamedColorSpace
NAMED_COLOR_SPACE_LINEAR_SRGB: NamedColorSpace
NAMED_COLOR_SPACE_ACES2065_1: NamedColorSpace
NAMED_COLOR_SPACE_ACESCG: NamedColorSpace
NAMED_COLOR_SPACE_XYZ_E: NamedColorSpace
NAMED_COLOR_SPACE_OCIO: NamedColorSpace
PREMULTIPLIED_ALPHA_TYPE_NONE: PremultipliedAlphaType
PREMULTIPLIED_ALPHA_TYPE_LINEARIZED: PremultipliedAlphaType
PREMULTIPLIED_ALPHA_TYPE_ENCODED: PremultipliedAlphaType
SubSampleMode_UNSPECIFIED: SubSampleMode
SUBSAMPLEMODE_NONE: SubSampleMode
SUBSAMPLEMODE_2X2: SubSampleMode
SUBSAMPLEMODE_4X4: SubSampleMode
TONEMAP_BUFFER_TYPE_LDR: TonemapBufferType
TONEMAP_BUFFER_TYPE_HDR_FLOAT: TonemapBufferType
TONEMAP_BUFFER_TYPE_HDR_HALF: TonemapBufferType
TONEMAP_BUFFER_TYPE_COUNT: TonemapBufferType
RSTATE_STOPPED: RenderState
RSTATE_WAITING_FOR_DATA: RenderState
RSTATE_RENDERING: RenderState
RSTATE_PAUSED: RenderState
RSTATE_FINISHED: RenderState
CLAYMODE_NONE: ClayMode
CLAYMODE_GREY: ClayMode
CLAYMODE_COLOR: ClayMode
MEMORY_LOCATION_DEVICE: MemoryLocation
MEMORY_LOCATION_OUT_OF_CORE: MemoryLocation
MEMORY_LOCATION_PEER_TO_PEER: MemoryLocation
IMAGE_SAVE_FORMAT_PNG_8: ImageSaveFormat
IMAGE_SAVE_FORMAT_PNG_16: ImageSaveFormat
IMAGE_SAVE_FORMAT_EXR_16: ImageSaveFormat
IMAGE_SAVE_FORMAT_EXR_32: ImageSaveFormat
IMAGE_SAVE_FORMAT_TIFF_8: ImageSaveFormat
IMAGE_SAVE_FORMAT_TIFF_16: ImageSaveFormat
IMAGE_SAVE_FORMAT_JPEG: ImageSaveFormat
EXR_COMPRESSION_TYPE_UNSPECIFIED: ExrCompressionType
EXR_COMPRESSION_TYPE_NO_COMPRESSION: ExrCompressionType
EXR_COMPRESSION_TYPE_RLE: ExrCompressionType
EXR_COMPRESSION_TYPE_ZIPS: ExrCompressionType
EXR_COMPRESSION_TYPE_ZIP: ExrCompressionType
EXR_COMPRESSION_TYPE_PIZ: ExrCompressionType
EXR_COMPRESSION_TYPE_PXR24: ExrCompressionType
EXR_COMPRESSION_TYPE_B44: ExrCompressionType
EXR_COMPRESSION_TYPE_B44A: ExrCompressionType
EXR_COMPRESSION_TYPE_DWAA: ExrCompressionType
EXR_COMPRESSION_TYPE_DWAB: ExrCompressionType
SHARED_SURFACE_TYPE_NONE: SharedSurfaceType
SHARED_SURFACE_TYPE_D3D11: SharedSurfaceType
RENDER_ERROR_NONE: RenderError
RENDER_ERROR_NOT_ENOUGH_DEVICE_MEMORY: RenderError
RENDER_ERROR_NOT_ENOUGH_HOST_MEMORY: RenderError
RENDER_ERROR_KERNEL_FAILED: RenderError
RENDER_ERROR_ACTIVATION_REQUIRED: RenderError
RENDER_ERROR_DEVICE_UNSUPPORTED: RenderError
RENDER_ERROR_PEER_CONNECTION_CLOSED: RenderError
RENDER_ERROR_MODULE_LOAD_FAILED: RenderError
RENDER_ERROR_OSL: RenderError
RENDER_ERROR_OSL_INTERNAL: RenderError
RENDER_ERROR_LOD_DATA: RenderError
RENDER_ERROR_UNSPECIFIED: RenderError
RENDER_DEVICE_STATE_UNKNOWN: RenderDeviceState
RENDER_DEVICE_STATE_NOT_SUPPORTED: RenderDeviceState
RENDER_DEVICE_STATE_DISABLED: RenderDeviceState
RENDER_DEVICE_STATE_ENABLED: RenderDeviceState
RENDER_DEVICE_STATE_ACTIVE_OK: RenderDeviceState
RENDER_DEVICE_STATE_ACTIVE_FAILED: RenderDeviceState
RENDER_PASS_BEAUTY: RenderPassId
RENDER_PASS_EMIT: RenderPassId
RENDER_PASS_ENVIRONMENT: RenderPassId
RENDER_PASS_DIFFUSE: RenderPassId
RENDER_PASS_DIFFUSE_DIRECT: RenderPassId
RENDER_PASS_DIFFUSE_INDIRECT: RenderPassId
RENDER_PASS_DIFFUSE_FILTER: RenderPassId
RENDER_PASS_REFLECTION: RenderPassId
RENDER_PASS_REFRACTION: RenderPassId
RENDER_PASS_TRANSMISSION: RenderPassId
RENDER_PASS_SSS: RenderPassId
RENDER_PASS_POST_PROC: RenderPassId
RENDER_PASS_LAYER_SHADOWS: RenderPassId
RENDER_PASS_AMBIENT_LIGHT: RenderPassId
RENDER_PASS_SUNLIGHT: RenderPassId
RENDER_PASS_NOISE_BEAUTY: RenderPassId
RENDER_PASS_SHADOW: RenderPassId
RENDER_PASS_IRRADIANCE: RenderPassId
RENDER_PASS_VOLUME: RenderPassId
RENDER_PASS_DENOISE_NORMAL: RenderPassId
RENDER_PASS_BEAUTY_DENOISER_OUTPUT: RenderPassId
RENDER_PASS_DENOISE_ALBEDO: RenderPassId
RENDER_PASS_MIST: RenderPassId
RENDER_PASS_CAMERA_MASK: RenderPassId
RENDER_PASS_ALPHA: RenderPassId
RENDER_PASS_GEOMETRIC_NORMAL: RenderPassId
RENDER_PASS_SHADING_NORMAL: RenderPassId
RENDER_PASS_POSITION: RenderPassId
RENDER_PASS_Z_DEPTH: RenderPassId
RENDER_PASS_MATERIAL_ID: RenderPassId
RENDER_PASS_UV_COORD: RenderPassId
RENDER_PASS_WIREFRAME: RenderPassId
RENDER_PASS_OBJECT_ID: RenderPassId
RENDER_PASS_AMBIENT_OCCLUSION: RenderPassId
RENDER_PASS_MOTION_VECTOR: RenderPassId
RENDER_PASS_OPACITY: RenderPassId
RENDER_PASS_ROUGHNESS: RenderPassId
RENDER_PASS_UNKNOWN: RenderPassId

class ObjectRef(_message.Message):
    __slots__ = ("handle", "type")
    class ObjectType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        Unknown: _ClassVar[ObjectRef.ObjectType]
        ApiSharedSurface: _ClassVar[ObjectRef.ObjectType]
        ApiItem: _ClassVar[ObjectRef.ObjectType]
        ApiNode: _ClassVar[ObjectRef.ObjectType]
        ApiRootNodeGraph: _ClassVar[ObjectRef.ObjectType]
        ApiReferenceGraph: _ClassVar[ObjectRef.ObjectType]
        ApiNodeGraph: _ClassVar[ObjectRef.ObjectType]
        ApiItemArray: _ClassVar[ObjectRef.ObjectType]
        ApiNodeArray: _ClassVar[ObjectRef.ObjectType]
        ApiRenderImage: _ClassVar[ObjectRef.ObjectType]
        ApiProjectWorkspace: _ClassVar[ObjectRef.ObjectType]
        ApiNodePinInfo: _ClassVar[ObjectRef.ObjectType]
        ApiRenderEngine_PickIntersection: _ClassVar[ObjectRef.ObjectType]
    Unknown: ObjectRef.ObjectType
    ApiSharedSurface: ObjectRef.ObjectType
    ApiItem: ObjectRef.ObjectType
    ApiNode: ObjectRef.ObjectType
    ApiRootNodeGraph: ObjectRef.ObjectType
    ApiReferenceGraph: ObjectRef.ObjectType
    ApiNodeGraph: ObjectRef.ObjectType
    ApiItemArray: ObjectRef.ObjectType
    ApiNodeArray: ObjectRef.ObjectType
    ApiRenderImage: ObjectRef.ObjectType
    ApiProjectWorkspace: ObjectRef.ObjectType
    ApiNodePinInfo: ObjectRef.ObjectType
    ApiRenderEngine_PickIntersection: ObjectRef.ObjectType
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    handle: int
    type: ObjectRef.ObjectType
    def __init__(self, handle: _Optional[int] = ..., type: _Optional[_Union[ObjectRef.ObjectType, str]] = ...) -> None: ...

class uint32_2(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ...) -> None: ...

class float_3(_message.Message):
    __slots__ = ("x", "y", "z")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    z: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., z: _Optional[float] = ...) -> None: ...

class Float3ArrayT(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[float_3]
    def __init__(self, data: _Optional[_Iterable[_Union[float_3, _Mapping]]] = ...) -> None: ...

class Buffer(_message.Message):
    __slots__ = ("data", "size")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    size: int
    def __init__(self, data: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class CLevelT(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...

class ApiArrayRenderPassId(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedScalarFieldContainer[RenderPassId]
    def __init__(self, data: _Optional[_Iterable[_Union[RenderPassId, str]]] = ...) -> None: ...

class ApiRenderImage(_message.Message):
    __slots__ = ("type", "colorSpace", "isLinear", "sharedSurface", "size", "pitch", "buffer", "renderPassId", "tonemappedSamplesPerPixel", "calculatedSamplesPerPixel", "regionSamplesPerPixel", "maxSamplesPerPixel", "samplesPerSecond", "renderTime", "changeLevel", "hasPendingUpdates", "subSampling", "hasAlpha", "premultipliedAlphaType", "keepEnvironment")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    ISLINEAR_FIELD_NUMBER: _ClassVar[int]
    SHAREDSURFACE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PITCH_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    RENDERPASSID_FIELD_NUMBER: _ClassVar[int]
    TONEMAPPEDSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    CALCULATEDSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    REGIONSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    MAXSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLESPERSECOND_FIELD_NUMBER: _ClassVar[int]
    RENDERTIME_FIELD_NUMBER: _ClassVar[int]
    CHANGELEVEL_FIELD_NUMBER: _ClassVar[int]
    HASPENDINGUPDATES_FIELD_NUMBER: _ClassVar[int]
    SUBSAMPLING_FIELD_NUMBER: _ClassVar[int]
    HASALPHA_FIELD_NUMBER: _ClassVar[int]
    PREMULTIPLIEDALPHATYPE_FIELD_NUMBER: _ClassVar[int]
    KEEPENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    type: ImageType
    colorSpace: NamedColorSpace
    isLinear: bool
    sharedSurface: ObjectRef
    size: uint32_2
    pitch: int
    buffer: Buffer
    renderPassId: RenderPassId
    tonemappedSamplesPerPixel: float
    calculatedSamplesPerPixel: float
    regionSamplesPerPixel: float
    maxSamplesPerPixel: float
    samplesPerSecond: float
    renderTime: float
    changeLevel: CLevelT
    hasPendingUpdates: bool
    subSampling: SubSampleMode
    hasAlpha: bool
    premultipliedAlphaType: PremultipliedAlphaType
    keepEnvironment: bool
    def __init__(self, type: _Optional[_Union[ImageType, str]] = ..., colorSpace: _Optional[_Union[NamedColorSpace, str]] = ..., isLinear: _Optional[bool] = ..., sharedSurface: _Optional[_Union[ObjectRef, _Mapping]] = ..., size: _Optional[_Union[uint32_2, _Mapping]] = ..., pitch: _Optional[int] = ..., buffer: _Optional[_Union[Buffer, _Mapping]] = ..., renderPassId: _Optional[_Union[RenderPassId, str]] = ..., tonemappedSamplesPerPixel: _Optional[float] = ..., calculatedSamplesPerPixel: _Optional[float] = ..., regionSamplesPerPixel: _Optional[float] = ..., maxSamplesPerPixel: _Optional[float] = ..., samplesPerSecond: _Optional[float] = ..., renderTime: _Optional[float] = ..., changeLevel: _Optional[_Union[CLevelT, _Mapping]] = ..., hasPendingUpdates: _Optional[bool] = ..., subSampling: _Optional[_Union[SubSampleMode, str]] = ..., hasAlpha: _Optional[bool] = ..., premultipliedAlphaType: _Optional[_Union[PremultipliedAlphaType, str]] = ..., keepEnvironment: _Optional[bool] = ...) -> None: ...

class ApiArrayApiRenderImage(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[ApiRenderImage]
    def __init__(self, data: _Optional[_Iterable[_Union[ApiRenderImage, _Mapping]]] = ...) -> None: ...

class RenderResultStatistics(_message.Message):
    __slots__ = ("setSize", "usedSize", "subSampleMode", "upSamplingRatio", "bufferType", "colorSpace", "isLinear", "hasAlpha", "premultipliedAlphaType", "keepEnvironment", "changeLevel", "hasPendingUpdates", "deepBinCount", "deepSeedSpp", "cryptomatteSeedSpp", "deepPassesEnabled", "tonemapPassesCount", "tonemapPasses", "passesCount", "renderPasses", "beautyWipeCount", "beautySamplesPerPixel", "beautyMaxSamplesPerPixel", "beautySamplesPerSecond", "regionSamplesPerPixel", "denoisedSamplesPerPixel", "regionDenoisedSamplesPerPixel", "infoWipeCount", "infoSamplesPerPixel", "infoMaxSamplesPerPixel", "infoSamplesPerSecond", "state", "renderTime", "estimatedRenderTime")
    SETSIZE_FIELD_NUMBER: _ClassVar[int]
    USEDSIZE_FIELD_NUMBER: _ClassVar[int]
    SUBSAMPLEMODE_FIELD_NUMBER: _ClassVar[int]
    UPSAMPLINGRATIO_FIELD_NUMBER: _ClassVar[int]
    BUFFERTYPE_FIELD_NUMBER: _ClassVar[int]
    COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    ISLINEAR_FIELD_NUMBER: _ClassVar[int]
    HASALPHA_FIELD_NUMBER: _ClassVar[int]
    PREMULTIPLIEDALPHATYPE_FIELD_NUMBER: _ClassVar[int]
    KEEPENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    CHANGELEVEL_FIELD_NUMBER: _ClassVar[int]
    HASPENDINGUPDATES_FIELD_NUMBER: _ClassVar[int]
    DEEPBINCOUNT_FIELD_NUMBER: _ClassVar[int]
    DEEPSEEDSPP_FIELD_NUMBER: _ClassVar[int]
    CRYPTOMATTESEEDSPP_FIELD_NUMBER: _ClassVar[int]
    DEEPPASSESENABLED_FIELD_NUMBER: _ClassVar[int]
    TONEMAPPASSESCOUNT_FIELD_NUMBER: _ClassVar[int]
    TONEMAPPASSES_FIELD_NUMBER: _ClassVar[int]
    PASSESCOUNT_FIELD_NUMBER: _ClassVar[int]
    RENDERPASSES_FIELD_NUMBER: _ClassVar[int]
    BEAUTYWIPECOUNT_FIELD_NUMBER: _ClassVar[int]
    BEAUTYSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    BEAUTYMAXSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    BEAUTYSAMPLESPERSECOND_FIELD_NUMBER: _ClassVar[int]
    REGIONSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    DENOISEDSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    REGIONDENOISEDSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    INFOWIPECOUNT_FIELD_NUMBER: _ClassVar[int]
    INFOSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    INFOMAXSAMPLESPERPIXEL_FIELD_NUMBER: _ClassVar[int]
    INFOSAMPLESPERSECOND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RENDERTIME_FIELD_NUMBER: _ClassVar[int]
    ESTIMATEDRENDERTIME_FIELD_NUMBER: _ClassVar[int]
    setSize: uint32_2
    usedSize: uint32_2
    subSampleMode: SubSampleMode
    upSamplingRatio: float
    bufferType: TonemapBufferType
    colorSpace: NamedColorSpace
    isLinear: bool
    hasAlpha: bool
    premultipliedAlphaType: PremultipliedAlphaType
    keepEnvironment: bool
    changeLevel: CLevelT
    hasPendingUpdates: bool
    deepBinCount: int
    deepSeedSpp: int
    cryptomatteSeedSpp: int
    deepPassesEnabled: bool
    tonemapPassesCount: int
    tonemapPasses: ApiArrayRenderPassId
    passesCount: int
    renderPasses: ApiArrayRenderPassId
    beautyWipeCount: int
    beautySamplesPerPixel: int
    beautyMaxSamplesPerPixel: int
    beautySamplesPerSecond: float
    regionSamplesPerPixel: int
    denoisedSamplesPerPixel: int
    regionDenoisedSamplesPerPixel: int
    infoWipeCount: int
    infoSamplesPerPixel: int
    infoMaxSamplesPerPixel: int
    infoSamplesPerSecond: float
    state: RenderState
    renderTime: float
    estimatedRenderTime: float
    def __init__(self, setSize: _Optional[_Union[uint32_2, _Mapping]] = ..., usedSize: _Optional[_Union[uint32_2, _Mapping]] = ..., subSampleMode: _Optional[_Union[SubSampleMode, str]] = ..., upSamplingRatio: _Optional[float] = ..., bufferType: _Optional[_Union[TonemapBufferType, str]] = ..., colorSpace: _Optional[_Union[NamedColorSpace, str]] = ..., isLinear: _Optional[bool] = ..., hasAlpha: _Optional[bool] = ..., premultipliedAlphaType: _Optional[_Union[PremultipliedAlphaType, str]] = ..., keepEnvironment: _Optional[bool] = ..., changeLevel: _Optional[_Union[CLevelT, _Mapping]] = ..., hasPendingUpdates: _Optional[bool] = ..., deepBinCount: _Optional[int] = ..., deepSeedSpp: _Optional[int] = ..., cryptomatteSeedSpp: _Optional[int] = ..., deepPassesEnabled: _Optional[bool] = ..., tonemapPassesCount: _Optional[int] = ..., tonemapPasses: _Optional[_Union[ApiArrayRenderPassId, _Mapping]] = ..., passesCount: _Optional[int] = ..., renderPasses: _Optional[_Union[ApiArrayRenderPassId, _Mapping]] = ..., beautyWipeCount: _Optional[int] = ..., beautySamplesPerPixel: _Optional[int] = ..., beautyMaxSamplesPerPixel: _Optional[int] = ..., beautySamplesPerSecond: _Optional[float] = ..., regionSamplesPerPixel: _Optional[int] = ..., denoisedSamplesPerPixel: _Optional[int] = ..., regionDenoisedSamplesPerPixel: _Optional[int] = ..., infoWipeCount: _Optional[int] = ..., infoSamplesPerPixel: _Optional[int] = ..., infoMaxSamplesPerPixel: _Optional[int] = ..., infoSamplesPerSecond: _Optional[float] = ..., state: _Optional[_Union[RenderState, str]] = ..., renderTime: _Optional[float] = ..., estimatedRenderTime: _Optional[float] = ...) -> None: ...
