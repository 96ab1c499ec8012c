//! Typed access to the fields of ABI structures inside plain bytes.
//!
//! Requests and answers are byte arrays; the structures of `xen-sys` only say where a field
//! lies and what type it has. So encoding and decoding need no `unsafe`, padding is always
//! zero, and what is sent can be compared to the byte in a test.

/// A field type with a fixed little-endian form.
pub(crate) trait Field: Copy {
    /// Writes the field at the start of `bytes`.
    fn put(self, bytes: &mut [u8]);
    /// Reads it back.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! integers {
    ($($ty:ty)*) => { $(
        impl Field for $ty {
            fn put(self, bytes: &mut [u8]) {
                bytes[..size_of::<$ty>()].copy_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$ty>()];
                raw.copy_from_slice(&bytes[..size_of::<$ty>()]);
                Self::from_le_bytes(raw)
            }
        }
    )* };
}

integers!(u8 i8 u16 i16 u32 i32 u64 i64);

impl<T: Field + Default, const N: usize> Field for [T; N] {
    fn put(self, bytes: &mut [u8]) {
        for (value, at) in self.into_iter().zip(bytes.chunks_exact_mut(size_of::<T>())) {
            value.put(at);
        }
    }
    fn get(bytes: &[u8]) -> Self {
        let mut out = [T::default(); N];
        for (value, at) in out.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
            *value = T::get(at);
        }
        out
    }
}

/// Writes `value` at `offset`; the accessor, never called, ties the value's type to the field's.
pub(crate) fn put_at<S, T: Field>(bytes: &mut [u8], offset: usize, _: fn(&S) -> T, value: T) {
    value.put(&mut bytes[offset..]);
}

/// Reads the field at `offset`, of the type that the accessor names.
pub(crate) fn get_at<S, T: Field>(bytes: &[u8], offset: usize, _: fn(&S) -> T) -> T {
    T::get(&bytes[offset..])
}

/// `put!(bytes, some_struct { field: value, nested.field: value })`: writes fields in place.
macro_rules! put {
    ($bytes:expr, $ty:ty { $($($field:ident).+ : $value:expr),+ $(,)? }) => {{
        let bytes: &mut [u8] = &mut $bytes[..];
        $(
            $crate::layout::put_at::<$ty, _>(
                bytes, core::mem::offset_of!($ty, $($field).+), |s| s.$($field).+, $value,
            );
        )+
    }};
}

/// `get!(bytes, some_struct, field)`: reads one field.
macro_rules! get {
    ($bytes:expr, $ty:ty, $($field:ident).+) => {
        $crate::layout::get_at::<$ty, _>(
            &$bytes[..], core::mem::offset_of!($ty, $($field).+), |s| s.$($field).+,
        )
    };
}

pub(crate) use {get, put};
