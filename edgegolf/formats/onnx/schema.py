"""The ONNX protobuf schema as data.

Source: ``onnx-ml.proto`` of ONNX 1.23 (IR version 13), by introspection of its message
descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

# One message a paragraph: its name, then ``number:field:type``, with ``*`` after the type of a
# repeated field and ``*p`` where the schema asks for its numbers to be packed.
_MESSAGES = """
AttributeProto 1:name:string 2:f:float 3:i:int64 4:s:bytes 5:t:TensorProto 6:g:GraphProto
    7:floats:float* 8:ints:int64* 9:strings:bytes* 10:tensors:TensorProto* 11:graphs:GraphProto*
    13:doc_string:string 14:tp:TypeProto 15:type_protos:TypeProto* 20:type:enum
    21:ref_attr_name:string 22:sparse_tensor:SparseTensorProto 23:sparse_tensors:SparseTensorProto*
ValueInfoProto 1:name:string 2:type:TypeProto 3:doc_string:string
    4:metadata_props:StringStringEntryProto*
NodeProto 1:input:string* 2:output:string* 3:name:string 4:op_type:string
    5:attribute:AttributeProto* 6:doc_string:string 7:domain:string 8:overload:string
    9:metadata_props:StringStringEntryProto* 10:device_configurations:NodeDeviceConfigurationProto*
IntIntListEntryProto 1:key:int64 2:value:int64*
NodeDeviceConfigurationProto 1:configuration_id:string 2:sharding_spec:ShardingSpecProto*
    3:pipeline_stage:int32
ShardingSpecProto 1:tensor_name:string 2:device:int64*
    3:index_to_device_group_map:IntIntListEntryProto* 4:sharded_dim:ShardedDimProto*
ShardedDimProto 1:axis:int64 2:simple_sharding:SimpleShardedDimProto*
SimpleShardedDimProto 1:dim_value:int64 2:dim_param:string 3:num_shards:int64
TrainingInfoProto 1:initialization:GraphProto 2:algorithm:GraphProto
    3:initialization_binding:StringStringEntryProto* 4:update_binding:StringStringEntryProto*
ModelProto 1:ir_version:int64 2:producer_name:string 3:producer_version:string 4:domain:string
    5:model_version:int64 6:doc_string:string 7:graph:GraphProto 8:opset_import:OperatorSetIdProto*
    14:metadata_props:StringStringEntryProto* 20:training_info:TrainingInfoProto*
    25:functions:FunctionProto* 26:configuration:DeviceConfigurationProto*
DeviceConfigurationProto 1:name:string 2:num_devices:int32 3:device:string*
StringStringEntryProto 1:key:string 2:value:string
TensorAnnotation 1:tensor_name:string 2:quant_parameter_tensor_names:StringStringEntryProto*
GraphProto 1:node:NodeProto* 2:name:string 5:initializer:TensorProto* 10:doc_string:string
    11:input:ValueInfoProto* 12:output:ValueInfoProto* 13:value_info:ValueInfoProto*
    14:quantization_annotation:TensorAnnotation* 15:sparse_initializer:SparseTensorProto*
    16:metadata_props:StringStringEntryProto*
TensorProto 1:dims:int64* 2:data_type:int32 3:segment:Segment 4:float_data:float*p
    5:int32_data:int32*p 6:string_data:bytes* 7:int64_data:int64*p 8:name:string 9:raw_data:bytes
    10:double_data:double*p 11:uint64_data:uint64*p 12:doc_string:string
    13:external_data:StringStringEntryProto* 14:data_location:enum
    16:metadata_props:StringStringEntryProto*
Segment 1:begin:int64 2:end:int64
SparseTensorProto 1:values:TensorProto 2:indices:TensorProto 3:dims:int64*
TensorShapeProto 1:dim:Dimension*
Dimension 1:dim_value:int64 2:dim_param:string 3:denotation:string
TypeProto 1:tensor_type:TensorType 4:sequence_type:SequenceType 5:map_type:MapType
    6:denotation:string 7:opaque_type:OpaqueType 8:sparse_tensor_type:TensorType
    9:optional_type:SequenceType
TensorType 1:elem_type:int32 2:shape:TensorShapeProto
SequenceType 1:elem_type:TypeProto
MapType 1:key_type:int32 2:value_type:TypeProto
OpaqueType 1:domain:string 2:name:string
OperatorSetIdProto 1:domain:string 2:version:int64
FunctionProto 1:name:string 4:input:string* 5:output:string* 6:attribute:string* 7:node:NodeProto*
    8:doc_string:string 9:opset_import:OperatorSetIdProto* 10:domain:string
    11:attribute_proto:AttributeProto* 12:value_info:ValueInfoProto* 13:overload:string
    14:metadata_props:StringStringEntryProto*
"""

_DATA_TYPES = """float32:32 uint8:8 int8:8 uint16:16 int16:16 int32:32 int64:64 string: bool:8
    float16:16 float64:64 uint32:32 uint64:64 complex64:64 complex128:128 bfloat16:16 float8e4m3fn:8
    float8e4m3fnuz:8 float8e5m2:8 float8e5m2fnuz:8 uint4:4 int4:4 float4e2m1:4 float8e8m0:8 uint2:2
    int2:2 float6e2m3:6 float6e3m2:6"""

#: Name and size in bits of a tensor's elements by their number in ``TensorProto.DataType``.
DATA_TYPES: MappingProxyType[int, tuple[str, int | None]] = MappingProxyType(
    {
        number: (name, int(bits) if bits else None)
        for number, text in enumerate(_DATA_TYPES.split(), 1)
        for name, bits in [text.split(":")]
    }
)

INTEGERS = frozenset({"int32", "int64", "uint64", "enum"})
#: ``struct`` format character and size in bytes of the fixed-size numbers.
FIXED = MappingProxyType({"float": ("f", 4), "double": ("d", 8)})


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    number: int
    name: str
    type: str
    is_repeated: bool
    is_packed: bool

    @property
    def is_message(self) -> bool:
        """Whether the field holds messages."""
        return self.type in FIELDS


def _parse_field(text: str) -> Field:
    number, name, kind = text.split(":")
    return Field(int(number), name, kind.rstrip("*p"), "*" in kind, kind.endswith("*p"))


#: The fields of each message by name.
FIELDS: MappingProxyType[str, MappingProxyType[str, Field]] = MappingProxyType(
    {
        message: MappingProxyType({field.name: field for field in map(_parse_field, fields)})
        for message, *fields in (
            paragraph.split() for paragraph in _MESSAGES.strip().replace("\n    ", " ").split("\n")
        )
    }
)

#: The fields of each message by number.
NUMBERED: MappingProxyType[str, MappingProxyType[int, Field]] = MappingProxyType(
    {
        message: MappingProxyType({field.number: field for field in fields.values()})
        for message, fields in FIELDS.items()
    }
)
