from google.protobuf import empty_pb2 as _empty_pb2
from protos import octane_types_pb2 as _octane_types_pb2
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

class ApiRenderEngine(_message.Message):
    __slots__ = ()
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
    class getCurrentChangeLevelRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getCurrentChangeLevelResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.CLevelT
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.CLevelT, _Mapping]] = ...) -> None: ...
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
