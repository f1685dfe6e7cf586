from protos import octane_types_pb2 as _octane_types_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BasicCallbackRequest(_message.Message):
    __slots__ = ("callback_source", "callback_id", "user_data")
    CALLBACK_SOURCE_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    callback_source: str
    callback_id: int
    user_data: int
    def __init__(self, callback_source: _Optional[str] = ..., callback_id: _Optional[int] = ..., user_data: _Optional[int] = ...) -> None: ...

class OnNewImageRequest(_message.Message):
    __slots__ = ("callback_source", "callback_id", "user_data", "render_images")
    CALLBACK_SOURCE_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    RENDER_IMAGES_FIELD_NUMBER: _ClassVar[int]
    callback_source: str
    callback_id: int
    user_data: int
    render_images: _octane_types_pb2.ApiArrayApiRenderImage
    def __init__(self, callback_source: _Optional[str] = ..., callback_id: _Optional[int] = ..., user_data: _Optional[int] = ..., render_images: _Optional[_Union[_octane_types_pb2.ApiArrayApiRenderImage, _Mapping]] = ...) -> None: ...

class StreamCallbackRequestAlpha(_message.Message):
    __slots__ = ("newImage", "renderFailure", "newStatistics", "projectManagerChanged")
    NEWIMAGE_FIELD_NUMBER: _ClassVar[int]
    RENDERFAILURE_FIELD_NUMBER: _ClassVar[int]
    NEWSTATISTICS_FIELD_NUMBER: _ClassVar[int]
    PROJECTMANAGERCHANGED_FIELD_NUMBER: _ClassVar[int]
    newImage: OnNewImageRequest
    renderFailure: BasicCallbackRequest
    newStatistics: BasicCallbackRequest
    projectManagerChanged: BasicCallbackRequest
    def __init__(self, newImage: _Optional[_Union[OnNewImageRequest, _Mapping]] = ..., renderFailure: _Optional[_Union[BasicCallbackRequest, _Mapping]] = ..., newStatistics: _Optional[_Union[BasicCallbackRequest, _Mapping]] = ..., projectManagerChanged: _Optional[_Union[BasicCallbackRequest, _Mapping]] = ...) -> None: ...

class StreamCallbackRequestAlpha3(_message.Message):
    __slots__ = ("request_id", "newImage")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NEWIMAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    newImage: OnNewImageRequest
    def __init__(self, request_id: _Optional[str] = ..., newImage: _Optional[_Union[OnNewImageRequest, _Mapping]] = ...) -> None: ...

class StreamCallbackResponseAlpha3(_message.Message):
    __slots__ = ("request_id", "success", "stringValue", "intValue", "boolValue")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    STRINGVALUE_FIELD_NUMBER: _ClassVar[int]
    INTVALUE_FIELD_NUMBER: _ClassVar[int]
    BOOLVALUE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    success: bool
    stringValue: str
    intValue: int
    boolValue: bool
    def __init__(self, request_id: _Optional[str] = ..., success: _Optional[bool] = ..., stringValue: _Optional[str] = ..., intValue: _Optional[int] = ..., boolValue: _Optional[bool] = ...) -> None: ...
