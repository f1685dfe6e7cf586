from google.protobuf import empty_pb2 as _empty_pb2
from protos import octane_types_pb2 as _octane_types_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PinId(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    P_UNKNOWN: _ClassVar[PinId]
    P_AUTOFOCUS: _ClassVar[PinId]
    P_CAMERA: _ClassVar[PinId]
    P_EXPOSURE: _ClassVar[PinId]
    P_FOCAL_DEPTH: _ClassVar[PinId]
    P_GAMMA: _ClassVar[PinId]
    P_IMAGER: _ClassVar[PinId]
    P_RESOLUTION: _ClassVar[PinId]
    P_WHITE_BALANCE: _ClassVar[PinId]
    P_FILM_SETTINGS: _ClassVar[PinId]
    P_REGION_OFFSET: _ClassVar[PinId]
    P_REGION_SIZE: _ClassVar[PinId]
P_UNKNOWN: PinId
P_AUTOFOCUS: PinId
P_CAMERA: PinId
P_EXPOSURE: PinId
P_FOCAL_DEPTH: PinId
P_GAMMA: PinId
P_IMAGER: PinId
P_RESOLUTION: PinId
P_WHITE_BALANCE: PinId
P_FILM_SETTINGS: PinId
P_REGION_OFFSET: PinId
P_REGION_SIZE: PinId

class int32_2(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ...) -> None: ...

class ApiNode(_message.Message):
    __slots__ = ()
    class connectedNodeRequest(_message.Message):
        __slots__ = ("objectPtr", "pinId", "enterWrapperNode")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        PINID_FIELD_NUMBER: _ClassVar[int]
        ENTERWRAPPERNODE_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        pinId: PinId
        enterWrapperNode: bool
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., pinId: _Optional[_Union[PinId, str]] = ..., enterWrapperNode: _Optional[bool] = ...) -> None: ...
    class connectedNodeResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.ObjectRef
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class getPinValueByIDRequest(_message.Message):
        __slots__ = ("item_ref", "pin_id")
        ITEM_REF_FIELD_NUMBER: _ClassVar[int]
        PIN_ID_FIELD_NUMBER: _ClassVar[int]
        item_ref: _octane_types_pb2.ObjectRef
        pin_id: PinId
        def __init__(self, item_ref: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., pin_id: _Optional[_Union[PinId, str]] = ...) -> None: ...
    class getPinValueByXResponse(_message.Message):
        __slots__ = ("bool_value", "int2_value", "float_value", "float3_value")
        BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
        INT2_VALUE_FIELD_NUMBER: _ClassVar[int]
        FLOAT_VALUE_FIELD_NUMBER: _ClassVar[int]
        FLOAT3_VALUE_FIELD_NUMBER: _ClassVar[int]
        bool_value: bool
        int2_value: int32_2
        float_value: float
        float3_value: _octane_types_pb2.float_3
        def __init__(self, bool_value: _Optional[bool] = ..., int2_value: _Optional[_Union[int32_2, _Mapping]] = ..., float_value: _Optional[float] = ..., float3_value: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ...) -> None: ...
    class setPinValueByIDRequest(_message.Message):
        __slots__ = ("item_ref", "pin_id", "evaluate", "bool_value", "int2_value", "float_value", "float3_value")
        ITEM_REF_FIELD_NUMBER: _ClassVar[int]
        PIN_ID_FIELD_NUMBER: _ClassVar[int]
        EVALUATE_FIELD_NUMBER: _ClassVar[int]
        BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
        INT2_VALUE_FIELD_NUMBER: _ClassVar[int]
        FLOAT_VALUE_FIELD_NUMBER: _ClassVar[int]
        FLOAT3_VALUE_FIELD_NUMBER: _ClassVar[int]
        item_ref: _octane_types_pb2.ObjectRef
        pin_id: PinId
        evaluate: bool
        bool_value: bool
        int2_value: int32_2
        float_value: float
        float3_value: _octane_types_pb2.float_3
        def __init__(self, item_ref: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., pin_id: _Optional[_Union[PinId, str]] = ..., evaluate: _Optional[bool] = ..., bool_value: _Optional[bool] = ..., int2_value: _Optional[_Union[int32_2, _Mapping]] = ..., float_value: _Optional[float] = ..., float3_value: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ...) -> None: ...
    class setPinValueResponse(_message.Message):
        __slots__ = ("success", "error_message")
        SUCCESS_FIELD_NUMBER: _ClassVar[int]
        ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
        success: bool
        error_message: str
        def __init__(self, success: _Optional[bool] = ..., error_message: _Optional[str] = ...) -> None: ...
    class getPinValueRequest(_message.Message):
        __slots__ = ("objectPtr", "id")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ...) -> None: ...
    class getPinValueResponse(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: bool
        def __init__(self, value: _Optional[bool] = ...) -> None: ...
    class setPinValueRequest(_message.Message):
        __slots__ = ("objectPtr", "id", "value", "evaluate")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        EVALUATE_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        value: bool
        evaluate: bool
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ..., value: _Optional[bool] = ..., evaluate: _Optional[bool] = ...) -> None: ...
    class getPinValue1Request(_message.Message):
        __slots__ = ("objectPtr", "id")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ...) -> None: ...
    class getPinValue1Response(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: float
        def __init__(self, value: _Optional[float] = ...) -> None: ...
    class setPinValue1Request(_message.Message):
        __slots__ = ("objectPtr", "id", "value", "evaluate")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        EVALUATE_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        value: float
        evaluate: bool
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ..., value: _Optional[float] = ..., evaluate: _Optional[bool] = ...) -> None: ...
    class getPinValue3Request(_message.Message):
        __slots__ = ("objectPtr", "id")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ...) -> None: ...
    class getPinValue3Response(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: _octane_types_pb2.float_3
        def __init__(self, value: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ...) -> None: ...
    class setPinValue3Request(_message.Message):
        __slots__ = ("objectPtr", "id", "value", "evaluate")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        EVALUATE_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        value: _octane_types_pb2.float_3
        evaluate: bool
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ..., value: _Optional[_Union[_octane_types_pb2.float_3, _Mapping]] = ..., evaluate: _Optional[bool] = ...) -> None: ...
    class getPinValue6Request(_message.Message):
        __slots__ = ("objectPtr", "id")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ...) -> None: ...
    class getPinValue6Response(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: int32_2
        def __init__(self, value: _Optional[_Union[int32_2, _Mapping]] = ...) -> None: ...
    class setPinValue6Request(_message.Message):
        __slots__ = ("objectPtr", "id", "value", "evaluate")
        OBJECTPTR_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        EVALUATE_FIELD_NUMBER: _ClassVar[int]
        objectPtr: _octane_types_pb2.ObjectRef
        id: PinId
        value: int32_2
        evaluate: bool
        def __init__(self, objectPtr: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ..., id: _Optional[_Union[PinId, str]] = ..., value: _Optional[_Union[int32_2, _Mapping]] = ..., evaluate: _Optional[bool] = ...) -> None: ...
    def __init__(self) -> None: ...
