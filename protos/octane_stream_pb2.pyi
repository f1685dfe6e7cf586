from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OnNewImageData(_message.Message):
    __slots__ = ("user_data",)
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    user_data: int
    def __init__(self, user_data: _Optional[int] = ...) -> None: ...

class OnRenderFailureData(_message.Message):
    __slots__ = ("user_data",)
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    user_data: int
    def __init__(self, user_data: _Optional[int] = ...) -> None: ...

class OnStatisticsData(_message.Message):
    __slots__ = ("user_data",)
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    user_data: int
    def __init__(self, user_data: _Optional[int] = ...) -> None: ...

class OnProjectManagerData(_message.Message):
    __slots__ = ("user_data",)
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    user_data: int
    def __init__(self, user_data: _Optional[int] = ...) -> None: ...

class StreamCallbackRequest(_message.Message):
    __slots__ = ("newImage", "renderFailure", "newStatistics", "projectManagerChanged")
    NEWIMAGE_FIELD_NUMBER: _ClassVar[int]
    RENDERFAILURE_FIELD_NUMBER: _ClassVar[int]
    NEWSTATISTICS_FIELD_NUMBER: _ClassVar[int]
    PROJECTMANAGERCHANGED_FIELD_NUMBER: _ClassVar[int]
    newImage: OnNewImageData
    renderFailure: OnRenderFailureData
    newStatistics: OnStatisticsData
    projectManagerChanged: OnProjectManagerData
    def __init__(self, newImage: _Optional[_Union[OnNewImageData, _Mapping]] = ..., renderFailure: _Optional[_Union[OnRenderFailureData, _Mapping]] = ..., newStatistics: _Optional[_Union[OnStatisticsData, _Mapping]] = ..., projectManagerChanged: _Optional[_Union[OnProjectManagerData, _Mapping]] = ...) -> None: ...
