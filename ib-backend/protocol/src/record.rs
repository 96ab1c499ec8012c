//! Records: what lies in shared memory, little-endian, field by field.
//!
//! In: bytes that were copied once. Out: plain structures, and the other way round. A record says
//! where its fields lie, so that the document can be compared with the code.

/// A type that a field of a record may have.
pub trait Field: Sized {
    /// Bytes.
    const SIZE: usize;
    /// What the first bytes of `bytes` hold; zero where there are too few.
    fn get(bytes: &[u8]) -> Self;
    /// Writes it to the first bytes of `bytes`; nothing where there are too few.
    fn put(&self, bytes: &mut [u8]);
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Field for $type {
            const SIZE: usize = size_of::<$type>();
            #[inline]
            fn get(bytes: &[u8]) -> Self {
                bytes.first_chunk().map_or(0, |bytes| Self::from_le_bytes(*bytes))
            }
            #[inline]
            fn put(&self, bytes: &mut [u8]) {
                if let Some(first) = bytes.first_chunk_mut() {
                    *first = self.to_le_bytes();
                }
            }
        }
    )*};
}
integers!(u8 u16 u32 u64);

impl<const N: usize> Field for [u8; N] {
    const SIZE: usize = N;
    #[inline]
    fn get(bytes: &[u8]) -> Self {
        bytes.first_chunk().copied().unwrap_or([0; N])
    }
    #[inline]
    fn put(&self, bytes: &mut [u8]) {
        if let Some(first) = bytes.first_chunk_mut() {
            *first = *self;
        }
    }
}

/// Where a field lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLayout {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the record's start.
    pub offset: usize,
    /// Its length in bytes.
    pub size: usize,
    /// What it means.
    pub meaning: &'static str,
}

/// A record of fixed size.
pub trait Record: Sized {
    /// Its name.
    const NAME: &'static str;
    /// Bytes, those without a field included.
    const SIZE: usize;
    /// Its fields, by offset.
    const FIELDS: &'static [FieldLayout];
    /// What the first [`Record::SIZE`] bytes hold; bytes that are missing count as zero.
    fn decode(bytes: &[u8]) -> Self;
    /// Writes its fields; those that do not fit are left out.
    fn encode(&self, bytes: &mut [u8]);
}

/// Declares a record: name, size, and per field offset, name and type, with one line of what it means.
macro_rules! record {
    (
        $(#[$about:meta])*
        $name:ident, $size:literal, {
            $( #[doc = $meaning:literal] $offset:literal $field:ident : $type:ty ),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( #[doc = $meaning] pub $field: $type, )*
        }

        impl $crate::Record for $name {
            const NAME: &'static str = stringify!($name);
            const SIZE: usize = $size;
            const FIELDS: &'static [$crate::FieldLayout] = &[ $( $crate::FieldLayout {
                name: stringify!($field),
                offset: $offset,
                size: <$type as $crate::Field>::SIZE,
                meaning: $meaning.trim_ascii(),
            } ),* ];
            #[inline]
            fn decode(bytes: &[u8]) -> Self {
                Self {
                    $( $field: <$type as $crate::Field>::get(bytes.get($offset..).unwrap_or(&[])) ),*
                }
            }
            #[inline]
            fn encode(&self, bytes: &mut [u8]) {
                $( if let Some(bytes) = bytes.get_mut($offset..) {
                    <$type as $crate::Field>::put(&self.$field, bytes);
                } )*
            }
        }

        impl Default for $name {
            fn default() -> Self {
                <Self as $crate::Record>::decode(&[])
            }
        }

        // Fields lie in order, do not overlap, and end within the record.
        const _: () = {
            let fields = <$name as $crate::Record>::FIELDS;
            let mut end = 0;
            let mut index = 0;
            while index < fields.len() {
                assert!(fields[index].offset >= end, "fields overlap");
                // Integers lie where both sides can read and write them in one access.
                let size = fields[index].size;
                assert!(size > 8 || fields[index].offset.is_multiple_of(size), "not aligned");
                end = fields[index].offset + fields[index].size;
                index += 1;
            }
            assert!(end <= $size, "fields lie outside");
        };
    };
}
pub(crate) use record;

/// A number with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Its name.
    pub name: &'static str,
    /// The number.
    pub value: u32,
    /// What it means.
    pub meaning: &'static str,
}

/// Declares a module of numbers, and the list of them.
macro_rules! numbers {
    ($(#[$about:meta])* $module:ident { $( #[doc = $meaning:literal] $name:ident = $value:literal, )* }) => {
        $(#[$about])*
        pub mod $module {
            $( #[doc = $meaning] pub const $name: u32 = $value; )*
            /// All of them.
            pub const ALL: &[$crate::Number] = &[ $( $crate::Number {
                name: stringify!($name),
                value: $value,
                meaning: $meaning.trim_ascii(),
            } ),* ];
        }
    };
}
pub(crate) use numbers;
