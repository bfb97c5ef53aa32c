//! The gRPC services of A2A, generated over messages that keep their bytes.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The trait, the server and the client of A2A 1.0.
#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)] // Generated code is not ours to tidy.
pub mod service {
    include!(concat!(env!("OUT_DIR"), "/lf.a2a.v1.A2AService.rs"));
}

/// The same of A2A 0.3.
#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)] // Generated code is not ours to tidy.
pub mod service_v0_3 {
    include!(concat!(env!("OUT_DIR"), "/a2a.v1.A2AService.rs"));
}

/// The bytes of a `T`, as they came or as they are to go. They are decoded where that is needed, within limits that
/// a codec does not know.
pub struct Encoded<T> {
    pub bytes: Bytes,
    message: PhantomData<fn() -> T>,
}

impl<T> Encoded<T> {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, message: PhantomData }
    }
}

impl<T> fmt::Debug for Encoded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// Hands bytes over, in and out.
pub struct EncodedCodec<E, D>(PhantomData<fn() -> (E, D)>);

impl<E, D> Default for EncodedCodec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: 'static, D: 'static> Codec for EncodedCodec<Encoded<E>, Encoded<D>> {
    type Encode = Encoded<E>;
    type Decode = Encoded<D>;
    type Encoder = EncodedCodec<E, D>;
    type Decoder = EncodedCodec<E, D>;

    fn encoder(&mut self) -> Self::Encoder {
        EncodedCodec::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        EncodedCodec::default()
    }
}

impl<E, D> Encoder for EncodedCodec<E, D> {
    type Item = Encoded<E>;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item.bytes);
        Ok(())
    }
}

impl<E, D> Decoder for EncodedCodec<E, D> {
    type Item = Encoded<D>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        Ok(Some(Encoded::new(source.copy_to_bytes(source.remaining()))))
    }
}
