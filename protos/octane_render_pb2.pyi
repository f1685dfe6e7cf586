from google.protobuf import empty_pb2 as _empty_pb2
from protos import octane_types_pb2 as _octane_types_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OnNewImageCallbackT(_message.Message):
    __slots__ = ("callbackSource", "callbackId")
    CALLBACKSOURCE_FIELD_NUMBER: _ClassVar[int]
    CALLBACKID_FIELD_NUMBER: _ClassVar[int]
    callbackSource: str
    callbackId: int
    def __init__(self, callbackSource: _Optional[str] = ..., callbackId: _Optional[int] = ...) -> None: ...

class OnNewStatisticsCallbackT(_message.Message):
    __slots__ = ("callbackSource", "callbackId")
    CALLBACKSOURCE_FIELD_NUMBER: _ClassVar[int]
    CALLBACKID_FIELD_NUMBER: _ClassVar[int]
    callbackSource: str
    callbackId: int
    def __init__(self, callbackSource: _Optional[str] = ..., callbackId: _Optional[int] = ...) -> None: ...

class OnRenderFailureCallbackT(_message.Message):
    __slots__ = ("callbackSource", "callbackId")
    CALLBACKSOURCE_FIELD_NUMBER: _ClassVar[int]
    CALLBACKID_FIELD_NUMBER: _ClassVar[int]
    callbackSource: str
    callbackId: int
    def __init__(self, callbackSource: _Optional[str] = ..., callbackId: _Optional[int] = ...) -> None: ...

class ApiDeviceMemoryUsage(_message.Message):
    __slots__ = ("usedDeviceMemory", "freeDeviceMemory", "totalDeviceMemory", "outOfCoreMemory", "peerToPeerBytesUsed")
    USEDDEVICEMEMORY_FIELD_NUMBER: _ClassVar[int]
    FREEDEVICEMEMORY_FIELD_NUMBER: _ClassVar[int]
    TOTALDEVICEMEMORY_FIELD_NUMBER: _ClassVar[int]
    OUTOFCOREMEMORY_FIELD_NUMBER: _ClassVar[int]
    PEERTOPEERBYTESUSED_FIELD_NUMBER: _ClassVar[int]
    usedDeviceMemory: int
    freeDeviceMemory: int
    totalDeviceMemory: int
    outOfCoreMemory: int
    peerToPeerBytesUsed: int
    def __init__(self, usedDeviceMemory: _Optional[int] = ..., freeDeviceMemory: _Optional[int] = ..., totalDeviceMemory: _Optional[int] = ..., outOfCoreMemory: _Optional[int] = ..., peerToPeerBytesUsed: _Optional[int] = ...) -> None: ...

class ApiDeviceResourceStatistics(_message.Message):
    __slots__ = ("runtimeDataSize", "filmDataSize", "geometryDataSize", "nodeSystemDataSize", "imagesDataSize", "compositorDataSize", "denoiserDataSize")
    RUNTIMEDATASIZE_FIELD_NUMBER: _ClassVar[int]
    FILMDATASIZE_FIELD_NUMBER: _ClassVar[int]
    GEOMETRYDATASIZE_FIELD_NUMBER: _ClassVar[int]
    NODESYSTEMDATASIZE_FIELD_NUMBER: _ClassVar[int]
    IMAGESDATASIZE_FIELD_NUMBER: _ClassVar[int]
    COMPOSITORDATASIZE_FIELD_NUMBER: _ClassVar[int]
    DENOISERDATASIZE_FIELD_NUMBER: _ClassVar[int]
    runtimeDataSize: int
    filmDataSize: int
    geometryDataSize: int
    nodeSystemDataSize: int
    imagesDataSize: int
    compositorDataSize: int
    denoiserDataSize: int
    def __init__(self, runtimeDataSize: _Optional[int] = ..., filmDataSize: _Optional[int] = ..., geometryDataSize: _Optional[int] = ..., nodeSystemDataSize: _Optional[int] = ..., imagesDataSize: _Optional[int] = ..., compositorDataSize: _Optional[int] = ..., denoiserDataSize: _Optional[int] = ...) -> None: ...

class ApiGeometryStatistics(_message.Message):
    __slots__ = ("triCount", "dispTriCount", "hairSegCount", "voxelCount", "gaussianSplatCount", "sphereCount", "instanceCount", "emitPriCount", "emitInstanceCount", "analyticLiCount")
    TRICOUNT_FIELD_NUMBER: _ClassVar[int]
    DISPTRICOUNT_FIELD_NUMBER: _ClassVar[int]
    HAIRSEGCOUNT_FIELD_NUMBER: _ClassVar[int]
    VOXELCOUNT_FIELD_NUMBER: _ClassVar[int]
    GAUSSIANSPLATCOUNT_FIELD_NUMBER: _ClassVar[int]
    SPHERECOUNT_FIELD_NUMBER: _ClassVar[int]
    INSTANCECOUNT_FIELD_NUMBER: _ClassVar[int]
    EMITPRICOUNT_FIELD_NUMBER: _ClassVar[int]
    EMITINSTANCECOUNT_FIELD_NUMBER: _ClassVar[int]
    ANALYTICLICOUNT_FIELD_NUMBER: _ClassVar[int]
    triCount: int
    dispTriCount: int
    hairSegCount: int
    voxelCount: int
    gaussianSplatCount: int
    sphereCount: int
    instanceCount: int
    emitPriCount: int
    emitInstanceCount: int
    analyticLiCount: int
    def __init__(self, triCount: _Optional[int] = ..., dispTriCount: _Optional[int] = ..., hairSegCount: _Optional[int] = ..., voxelCount: _Optional[int] = ..., gaussianSplatCount: _Optional[int] = ..., sphereCount: _Optional[int] = ..., instanceCount: _Optional[int] = ..., emitPriCount: _Optional[int] = ..., emitInstanceCount: _Optional[int] = ..., analyticLiCount: _Optional[int] = ...) -> None: ...

class ApiTextureStatistics(_message.Message):
    __slots__ = ("usedRgba32Textures", "usedRgba64Textures", "usedY8Textures", "usedY16Textures", "usedVirtualTextures")
    USEDRGBA32TEXTURES_FIELD_NUMBER: _ClassVar[int]
    USEDRGBA64TEXTURES_FIELD_NUMBER: _ClassVar[int]
    USEDY8TEXTURES_FIELD_NUMBER: _ClassVar[int]
    USEDY16TEXTURES_FIELD_NUMBER: _ClassVar[int]
    USEDVIRTUALTEXTURES_FIELD_NUMBER: _ClassVar[int]
    usedRgba32Textures: int
    usedRgba64Textures: int
    usedY8Textures: int
    usedY16Textures: int
    usedVirtualTextures: int
    def __init__(self, usedRgba32Textures: _Optional[int] = ..., usedRgba64Textures: _Optional[int] = ..., usedY8Textures: _Optional[int] = ..., usedY16Textures: _Optional[int] = ..., usedVirtualTextures: _Optional[int] = ...) -> None: ...

class ApiRenderEngine(_message.Message):
    __slots__ = ()
    class RenderPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PRIORITY_LOW: _ClassVar[ApiRenderEngine.RenderPriority]
        PRIORITY_MEDIUM: _ClassVar[ApiRenderEngine.RenderPriority]
        PRIORITY_HIGH: _ClassVar[ApiRenderEngine.RenderPriority]
        PRIORITY_COUNT: _ClassVar[ApiRenderEngine.RenderPriority]
    PRIORITY_LOW: ApiRenderEngine.RenderPriority
    PRIORITY_MEDIUM: ApiRenderEngine.RenderPriority
    PRIORITY_HIGH: ApiRenderEngine.RenderPriority
    PRIORITY_COUNT: ApiRenderEngine.RenderPriority
    class setOnNewImageCallbackRequest(_message.Message):
        __slots__ = ("callback", "userData")
        CALLBACK_FIELD_NUMBER: _ClassVar[int]
        USERDATA_FIELD_NUMBER: _ClassVar[int]
        callback: OnNewImageCallbackT
        userData: int
        def __init__(self, callback: _Optional[_Union[OnNewImageCallbackT, _Mapping]] = ..., userData: _Optional[int] = ...) -> None: ...
    class setOnNewImageCallbackResponse(_message.Message):
        __slots__ = ("callbackId",)
        CALLBACKID_FIELD_NUMBER: _ClassVar[int]
        callbackId: int
        def __init__(self, callbackId: _Optional[int] = ...) -> None: ...
    class setOnNewStatisticsCallbackRequest(_message.Message):
        __slots__ = ("callback", "userData")
        CALLBACK_FIELD_NUMBER: _ClassVar[int]
        USERDATA_FIELD_NUMBER: _ClassVar[int]
        callback: OnNewStatisticsCallbackT
        userData: int
        def __init__(self, callback: _Optional[_Union[OnNewStatisticsCallbackT, _Mapping]] = ..., userData: _Optional[int] = ...) -> None: ...
    class setOnNewStatisticsCallbackResponse(_message.Message):
        __slots__ = ("callbackId",)
        CALLBACKID_FIELD_NUMBER: _ClassVar[int]
        callbackId: int
        def __init__(self, callbackId: _Optional[int] = ...) -> None: ...
    class setOnRenderFailureCallbackRequest(_message.Message):
        __slots__ = ("callback", "userData")
        CALLBACK_FIELD_NUMBER: _ClassVar[int]
        USERDATA_FIELD_NUMBER: _ClassVar[int]
        callback: OnRenderFailureCallbackT
        userData: int
        def __init__(self, callback: _Optional[_Union[OnRenderFailureCallbackT, _Mapping]] = ..., userData: _Optional[int] = ...) -> None: ...
    class setOnRenderFailureCallbackResponse(_message.Message):
        __slots__ = ("callbackId",)
        CALLBACKID_FIELD_NUMBER: _ClassVar[int]
        callbackId: int
        def __init__(self, callbackId: _Optional[int] = ...) -> None: ...
    class grabRenderResultRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class grabRenderResultResponse(_message.Message):
        __slots__ = ("result", "renderImages")
        RESULT_FIELD_NUMBER: _ClassVar[int]
        RENDERIMAGES_FIELD_NUMBER: _ClassVar[int]
        result: bool
        renderImages: _octane_types_pb2.ApiArrayApiRenderImage
        def __init__(self, result: _Optional[bool] = ..., renderImages: _Optional[_Union[_octane_types_pb2.ApiArrayApiRenderImage, _Mapping]] = ...) -> None: ...
    class releaseRenderResultRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderStatisticsRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderStatisticsResponse(_message.Message):
        __slots__ = ("statistics",)
        STATISTICS_FIELD_NUMBER: _ClassVar[int]
        statistics: _octane_types_pb2.RenderResultStatistics
        def __init__(self, statistics: _Optional[_Union[_octane_types_pb2.RenderResultStatistics, _Mapping]] = ...) -> None: ...
    class getRenderResultStatisticsRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderResultStatisticsResponse(_message.Message):
        __slots__ = ("statistics",)
        STATISTICS_FIELD_NUMBER: _ClassVar[int]
        statistics: _octane_types_pb2.RenderResultStatistics
        def __init__(self, statistics: _Optional[_Union[_octane_types_pb2.RenderResultStatistics, _Mapping]] = ...) -> None: ...
    class setAsyncTonemapParams1Request(_message.Message):
        __slots__ = ("bufferType", "cryptomatteFalseColor", "colorSpace", "premultipliedAlphaType")
        BUFFERTYPE_FIELD_NUMBER: _ClassVar[int]
        CRYPTOMATTEFALSECOLOR_FIELD_NUMBER: _ClassVar[int]
        COLORSPACE_FIELD_NUMBER: _ClassVar[int]
        PREMULTIPLIEDALPHATYPE_FIELD_NUMBER: _ClassVar[int]
        bufferType: _octane_types_pb2.TonemapBufferType
        cryptomatteFalseColor: bool
        colorSpace: _octane_types_pb2.NamedColorSpace
        premultipliedAlphaType: _octane_types_pb2.PremultipliedAlphaType
        def __init__(self, bufferType: _Optional[_Union[_octane_types_pb2.TonemapBufferType, str]] = ..., cryptomatteFalseColor: _Optional[bool] = ..., colorSpace: _Optional[_Union[_octane_types_pb2.NamedColorSpace, str]] = ..., premultipliedAlphaType: _Optional[_Union[_octane_types_pb2.PremultipliedAlphaType, str]] = ...) -> None: ...
    class asyncTonemapBufferTypeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class asyncTonemapBufferTypeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.TonemapBufferType
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.TonemapBufferType, str]] = ...) -> None: ...
    class asyncTonemapCryptomatteFalseColorRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class asyncTonemapCryptomatteFalseColorResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class asyncTonemapColorSpaceRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class asyncTonemapColorSpaceResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.NamedColorSpace
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.NamedColorSpace, str]] = ...) -> None: ...
    class asyncTonemapPremultipliedAlphaTypeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class asyncTonemapPremultipliedAlphaTypeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.PremultipliedAlphaType
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.PremultipliedAlphaType, str]] = ...) -> None: ...
    class triggerAsyncTonemapRequest(_message.Message):
        __slots__ = ("force",)
        FORCE_FIELD_NUMBER: _ClassVar[int]
        force: bool
        def __init__(self, force: _Optional[bool] = ...) -> None: ...
    class setAsyncTonemapRenderPassesRequest(_message.Message):
        __slots__ = ("tonemapPasses",)
        TONEMAPPASSES_FIELD_NUMBER: _ClassVar[int]
        tonemapPasses: _octane_types_pb2.ApiArrayRenderPassId
        def __init__(self, tonemapPasses: _Optional[_Union[_octane_types_pb2.ApiArrayRenderPassId, _Mapping]] = ...) -> None: ...
    class setAsyncTonemapRenderPassesResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class getEnabledAovsRequest(_message.Message):
        __slots__ = ("renderTargetNode",)
        RENDERTARGETNODE_FIELD_NUMBER: _ClassVar[int]
        renderTargetNode: _octane_types_pb2.ObjectRef
        def __init__(self, renderTargetNode: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class getEnabledAovsResponse(_message.Message):
        __slots__ = ("aovIds",)
        AOVIDS_FIELD_NUMBER: _ClassVar[int]
        aovIds: _octane_types_pb2.ApiArrayRenderPassId
        def __init__(self, aovIds: _Optional[_Union[_octane_types_pb2.ApiArrayRenderPassId, _Mapping]] = ...) -> None: ...
    class displayRenderPassIdRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class displayRenderPassIdResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.RenderPassId
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.RenderPassId, str]] = ...) -> None: ...
    class setSharedSurfaceOutputTypeRequest(_message.Message):
        __slots__ = ("type", "realTime")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        REALTIME_FIELD_NUMBER: _ClassVar[int]
        type: _octane_types_pb2.SharedSurfaceType
        realTime: bool
        def __init__(self, type: _Optional[_Union[_octane_types_pb2.SharedSurfaceType, str]] = ..., realTime: _Optional[bool] = ...) -> None: ...
    class getSharedSurfaceOutputTypeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getSharedSurfaceOutputTypeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.SharedSurfaceType
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.SharedSurfaceType, str]] = ...) -> None: ...
    class getRealTimeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRealTimeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class saveImage1Request(_message.Message):
        __slots__ = ("renderPassId", "fullPath", "imageSaveFormat", "colorSpace", "premultipliedAlphaType", "exrCompressionType", "exrCompressionLevel", "asynchronous")
        RENDERPASSID_FIELD_NUMBER: _ClassVar[int]
        FULLPATH_FIELD_NUMBER: _ClassVar[int]
        IMAGESAVEFORMAT_FIELD_NUMBER: _ClassVar[int]
        COLORSPACE_FIELD_NUMBER: _ClassVar[int]
        PREMULTIPLIEDALPHATYPE_FIELD_NUMBER: _ClassVar[int]
        EXRCOMPRESSIONTYPE_FIELD_NUMBER: _ClassVar[int]
        EXRCOMPRESSIONLEVEL_FIELD_NUMBER: _ClassVar[int]
        ASYNCHRONOUS_FIELD_NUMBER: _ClassVar[int]
        renderPassId: _octane_types_pb2.RenderPassId
        fullPath: str
        imageSaveFormat: _octane_types_pb2.ImageSaveFormat
        colorSpace: _octane_types_pb2.NamedColorSpace
        premultipliedAlphaType: _octane_types_pb2.PremultipliedAlphaType
        exrCompressionType: _octane_types_pb2.ExrCompressionType
        exrCompressionLevel: float
        asynchronous: bool
        def __init__(self, renderPassId: _Optional[_Union[_octane_types_pb2.RenderPassId, str]] = ..., fullPath: _Optional[str] = ..., imageSaveFormat: _Optional[_Union[_octane_types_pb2.ImageSaveFormat, str]] = ..., colorSpace: _Optional[_Union[_octane_types_pb2.NamedColorSpace, str]] = ..., premultipliedAlphaType: _Optional[_Union[_octane_types_pb2.PremultipliedAlphaType, str]] = ..., exrCompressionType: _Optional[_Union[_octane_types_pb2.ExrCompressionType, str]] = ..., exrCompressionLevel: _Optional[float] = ..., asynchronous: _Optional[bool] = ...) -> None: ...
    class saveImage1Response(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class pauseRenderingRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class continueRenderingRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class restartRenderingRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class stopRenderingRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isRenderingPausedRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isRenderingPausedResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class isImageReadyRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isImageReadyResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class isRenderFailureRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isRenderFailureResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class resetImageReadyRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class resetRenderFailureRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class setRenderPriorityRequest(_message.Message):
        __slots__ = ("priority",)
        PRIORITY_FIELD_NUMBER: _ClassVar[int]
        priority: ApiRenderEngine.RenderPriority
        def __init__(self, priority: _Optional[_Union[ApiRenderEngine.RenderPriority, str]] = ...) -> None: ...
    class renderPriorityRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class renderPriorityResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: ApiRenderEngine.RenderPriority
        def __init__(self, result: _Optional[_Union[ApiRenderEngine.RenderPriority, str]] = ...) -> None: ...
    class setSubSampleModeRequest(_message.Message):
        __slots__ = ("mode",)
        MODE_FIELD_NUMBER: _ClassVar[int]
        mode: _octane_types_pb2.SubSampleMode
        def __init__(self, mode: _Optional[_Union[_octane_types_pb2.SubSampleMode, str]] = ...) -> None: ...
    class getSubSampleModeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getSubSampleModeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.SubSampleMode
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.SubSampleMode, str]] = ...) -> None: ...
    class setClayModeRequest(_message.Message):
        __slots__ = ("mode",)
        MODE_FIELD_NUMBER: _ClassVar[int]
        mode: _octane_types_pb2.ClayMode
        def __init__(self, mode: _Optional[_Union[_octane_types_pb2.ClayMode, str]] = ...) -> None: ...
    class clayModeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class clayModeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.ClayMode
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.ClayMode, str]] = ...) -> None: ...
    class setFpsRequest(_message.Message):
        __slots__ = ("fps",)
        FPS_FIELD_NUMBER: _ClassVar[int]
        fps: float
        def __init__(self, fps: _Optional[float] = ...) -> None: ...
    class fpsRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class fpsResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: float
        def __init__(self, result: _Optional[float] = ...) -> None: ...
    class setRenderTargetNodeRequest(_message.Message):
        __slots__ = ("targetNode",)
        TARGETNODE_FIELD_NUMBER: _ClassVar[int]
        targetNode: _octane_types_pb2.ObjectRef
        def __init__(self, targetNode: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class setRenderTargetNodeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class getRenderTargetNodeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderTargetNodeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.ObjectRef
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class getRenderCameraNodeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderCameraNodeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.ObjectRef
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class getRenderGeometryNodeRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderGeometryNodeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.ObjectRef
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class setRenderRegionRequest(_message.Message):
        __slots__ = ("active", "regionMin", "regionMax", "featherWidth")
        ACTIVE_FIELD_NUMBER: _ClassVar[int]
        REGIONMIN_FIELD_NUMBER: _ClassVar[int]
        REGIONMAX_FIELD_NUMBER: _ClassVar[int]
        FEATHERWIDTH_FIELD_NUMBER: _ClassVar[int]
        active: bool
        regionMin: _octane_types_pb2.uint32_2
        regionMax: _octane_types_pb2.uint32_2
        featherWidth: int
        def __init__(self, active: _Optional[bool] = ..., regionMin: _Optional[_Union[_octane_types_pb2.uint32_2, _Mapping]] = ..., regionMax: _Optional[_Union[_octane_types_pb2.uint32_2, _Mapping]] = ..., featherWidth: _Optional[int] = ...) -> None: ...
    class getRenderRegionRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderRegionResponse(_message.Message):
        __slots__ = ("active", "regionMin", "regionMax", "featherWidth")
        ACTIVE_FIELD_NUMBER: _ClassVar[int]
        REGIONMIN_FIELD_NUMBER: _ClassVar[int]
        REGIONMAX_FIELD_NUMBER: _ClassVar[int]
        FEATHERWIDTH_FIELD_NUMBER: _ClassVar[int]
        active: bool
        regionMin: _octane_types_pb2.uint32_2
        regionMax: _octane_types_pb2.uint32_2
        featherWidth: int
        def __init__(self, active: _Optional[bool] = ..., regionMin: _Optional[_Union[_octane_types_pb2.uint32_2, _Mapping]] = ..., regionMax: _Optional[_Union[_octane_types_pb2.uint32_2, _Mapping]] = ..., featherWidth: _Optional[int] = ...) -> None: ...
    class isCompilingRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isCompilingResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class isCompressingTexturesRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isCompressingTexturesResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class hasPendingRenderDataRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class hasPendingRenderDataResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class getCurrentChangeLevelRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getCurrentChangeLevelResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.CLevelT
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.CLevelT, _Mapping]] = ...) -> None: ...
    class getRenderImageChangeLevelRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderImageChangeLevelResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.CLevelT
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.CLevelT, _Mapping]] = ...) -> None: ...
    class getRenderRestartedChangeLevelRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getRenderRestartedChangeLevelResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.CLevelT
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.CLevelT, _Mapping]] = ...) -> None: ...
    class pickRequest(_message.Message):
        __slots__ = ("x", "y", "filterDuplicateMaterialPins", "intersectionsSize")
        X_FIELD_NUMBER: _ClassVar[int]
        Y_FIELD_NUMBER: _ClassVar[int]
        FILTERDUPLICATEMATERIALPINS_FIELD_NUMBER: _ClassVar[int]
        INTERSECTIONSSIZE_FIELD_NUMBER: _ClassVar[int]
        x: int
        y: int
        filterDuplicateMaterialPins: bool
        intersectionsSize: int
        def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., filterDuplicateMaterialPins: _Optional[bool] = ..., intersectionsSize: _Optional[int] = ...) -> None: ...
    class pickResponse(_message.Message):
        __slots__ = ("result", "intersections")
        RESULT_FIELD_NUMBER: _ClassVar[int]
        INTERSECTIONS_FIELD_NUMBER: _ClassVar[int]
        result: int
        intersections: ApiRenderEngine.ApiRenderEngine_PickIntersection
        def __init__(self, result: _Optional[int] = ..., intersections: _Optional[_Union[ApiRenderEngine.ApiRenderEngine_PickIntersection, _Mapping]] = ...) -> None: ...
    class ApiRenderEngine_PickIntersection(_message.Message):
        __slots__ = ("node", "materialPinIx", "depth", "position", "geometricNormal", "smoothedNormal", "primitiveVertices", "positionOnPrimitive")
        NODE_FIELD_NUMBER: _ClassVar[int]
        MATERIALPINIX_FIELD_NUMBER: _ClassVar[int]
        DEPTH_FIELD_NUMBER: _ClassVar[int]
        POSITION_FIELD_NUMBER: _ClassVar[int]
        GEOMETRICNORMAL_FIELD_NUMBER: _ClassVar[int]
        SMOOTHEDNORMAL_FIELD_NUMBER: _ClassVar[int]
        PRIMITIVEVERTICES_FIELD_NUMBER: _ClassVar[int]
        POSITIONONPRIMITIVE_FIELD_NUMBER: _ClassVar[int]
        node: _octane_types_pb2.ObjectRef
        materialPinIx: int
        depth: float
        position: _octane_types_pb2.float_3
        geometricNormal: _octane_types_pb2.float_3
        smoothedNormal: _octane_types_pb2.float_3
        primitiveVertices: _octane_types_pb2.Float3ArrayT
        positionOnPrimitive: _octane_types_pb2.float_3
        def __init__(self, node: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., materialPinIx: _Optional[int] = ..., depth: _Optional[float] = ..., position: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ..., geometricNormal: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ..., smoothedNormal: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ..., primitiveVertices: _Optional[_Union[_octane_types_pb2.Float3ArrayT, _Mapping]] = ..., positionOnPrimitive: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ...) -> None: ...
    class pickWhitePointRequest(_message.Message):
        __slots__ = ("x", "y")
        X_FIELD_NUMBER: _ClassVar[int]
        Y_FIELD_NUMBER: _ClassVar[int]
        x: int
        y: int
        def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ...) -> None: ...
    class pickWhitePointResponse(_message.Message):
        __slots__ = ("result", "whitePoint")
        RESULT_FIELD_NUMBER: _ClassVar[int]
        WHITEPOINT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        whitePoint: _octane_types_pb2.float_3
        def __init__(self, result: _Optional[bool] = ..., whitePoint: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ...) -> None: ...
    class getSceneBoundsRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getSceneBoundsResponse(_message.Message):
        __slots__ = ("result", "bboxMin", "bboxMax")
        RESULT_FIELD_NUMBER: _ClassVar[int]
        BBOXMIN_FIELD_NUMBER: _ClassVar[int]
        BBOXMAX_FIELD_NUMBER: _ClassVar[int]
        result: bool
        bboxMin: _octane_types_pb2.float_3
        bboxMax: _octane_types_pb2.float_3
        def __init__(self, result: _Optional[bool] = ..., bboxMin: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ..., bboxMax: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ...) -> None: ...
    class getDeviceCountRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getDeviceCountResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: int
        def __init__(self, result: _Optional[int] = ...) -> None: ...
    class getDeviceNameRequest(_message.Message):
        __slots__ = ("index",)
        INDEX_FIELD_NUMBER: _ClassVar[int]
        index: int
        def __init__(self, index: _Optional[int] = ...) -> None: ...
    class getDeviceNameResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    class getMemoryUsageRequest(_message.Message):
        __slots__ = ("deviceIx",)
        DEVICEIX_FIELD_NUMBER: _ClassVar[int]
        deviceIx: int
        def __init__(self, deviceIx: _Optional[int] = ...) -> None: ...
    class getMemoryUsageResponse(_message.Message):
        __slots__ = ("memUsage",)
        MEMUSAGE_FIELD_NUMBER: _ClassVar[int]
        memUsage: ApiDeviceMemoryUsage
        def __init__(self, memUsage: _Optional[_Union[ApiDeviceMemoryUsage, _Mapping]] = ...) -> None: ...
    class getResourceStatisticsRequest(_message.Message):
        __slots__ = ("deviceIx", "memoryLocation")
        DEVICEIX_FIELD_NUMBER: _ClassVar[int]
        MEMORYLOCATION_FIELD_NUMBER: _ClassVar[int]
        deviceIx: int
        memoryLocation: _octane_types_pb2.MemoryLocation
        def __init__(self, deviceIx: _Optional[int] = ..., memoryLocation: _Optional[_Union[_octane_types_pb2.MemoryLocation, str]] = ...) -> None: ...
    class getResourceStatisticsResponse(_message.Message):
        __slots__ = ("resourceStats",)
        RESOURCESTATS_FIELD_NUMBER: _ClassVar[int]
        resourceStats: ApiDeviceResourceStatistics
        def __init__(self, resourceStats: _Optional[_Union[ApiDeviceResourceStatistics, _Mapping]] = ...) -> None: ...
    class getGeometryStatisticsRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getGeometryStatisticsResponse(_message.Message):
        __slots__ = ("stats",)
        STATS_FIELD_NUMBER: _ClassVar[int]
        stats: ApiGeometryStatistics
        def __init__(self, stats: _Optional[_Union[ApiGeometryStatistics, _Mapping]] = ...) -> None: ...
    class getTexturesStatisticsRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getTexturesStatisticsResponse(_message.Message):
        __slots__ = ("textureStats",)
        TEXTURESTATS_FIELD_NUMBER: _ClassVar[int]
        textureStats: ApiTextureStatistics
        def __init__(self, textureStats: _Optional[_Union[ApiTextureStatistics, _Mapping]] = ...) -> None: ...
    class deviceUsesHardwareRayTracingRequest(_message.Message):
        __slots__ = ("index",)
        INDEX_FIELD_NUMBER: _ClassVar[int]
        index: int
        def __init__(self, index: _Optional[int] = ...) -> None: ...
    class deviceUsesHardwareRayTracingResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class deviceSupportsHardwareRayTracingRequest(_message.Message):
        __slots__ = ("index",)
        INDEX_FIELD_NUMBER: _ClassVar[int]
        index: int
        def __init__(self, index: _Optional[int] = ...) -> None: ...
    class deviceSupportsHardwareRayTracingResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class renderDeviceStateRequest(_message.Message):
        __slots__ = ("deviceIx",)
        DEVICEIX_FIELD_NUMBER: _ClassVar[int]
        deviceIx: int
        def __init__(self, deviceIx: _Optional[int] = ...) -> None: ...
    class renderDeviceStateResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.RenderDeviceState
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.RenderDeviceState, str]] = ...) -> None: ...
    class renderDeviceErrorCodeRequest(_message.Message):
        __slots__ = ("deviceIx",)
        DEVICEIX_FIELD_NUMBER: _ClassVar[int]
        deviceIx: int
        def __init__(self, deviceIx: _Optional[int] = ...) -> None: ...
    class renderDeviceErrorCodeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.RenderError
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.RenderError, str]] = ...) -> None: ...
    class renderDeviceErrorMessageRequest(_message.Message):
        __slots__ = ("deviceIx",)
        DEVICEIX_FIELD_NUMBER: _ClassVar[int]
        deviceIx: int
        def __init__(self, deviceIx: _Optional[int] = ...) -> None: ...
    class renderDeviceErrorMessageResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    class errorcodeToStringRequest(_message.Message):
        __slots__ = ("code",)
        CODE_FIELD_NUMBER: _ClassVar[int]
        code: _octane_types_pb2.RenderError
        def __init__(self, code: _Optional[_Union[_octane_types_pb2.RenderError, str]] = ...) -> None: ...
    class errorcodeToStringResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    def __init__(self) -> None: ...
