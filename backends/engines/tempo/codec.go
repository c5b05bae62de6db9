package main

import (
	"fmt"

	gogo "github.com/gogo/protobuf/proto"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

// gogoCodec lets gogo/protobuf encode the messages that it generated, Tempo's among them, some of whose
// fields have Go types of their own; all others go the way they went before.
type gogoCodec struct {
	others encoding.Codec
}

// useGogoCodec puts the codec in the place of the one that gRPC has now. It must run before any connection.
func useGogoCodec() {
	encoding.RegisterCodec(gogoCodec{others: encoding.GetCodec("proto")})
}

func (codec gogoCodec) Name() string {
	return codec.others.Name()
}

func (codec gogoCodec) Marshal(message any) ([]byte, error) {
	if _, current := message.(proto.Message); current {
		return codec.others.Marshal(message)
	}
	if generated, ok := message.(gogo.Message); ok {
		return gogo.Marshal(generated)
	}
	return nil, fmt.Errorf("%T is no protobuf message", message)
}

func (codec gogoCodec) Unmarshal(data []byte, message any) error {
	if _, current := message.(proto.Message); current {
		return codec.others.Unmarshal(data, message)
	}
	if generated, ok := message.(gogo.Message); ok {
		return gogo.Unmarshal(data, generated)
	}
	return fmt.Errorf("%T is no protobuf message", message)
}
