//! Layout assertions: every structure states its size and offsets, and has no hidden padding.
//!
//! A structure that goes to the hypervisor is copied as bytes; padding that the compiler leaves
//! uninitialised would carry whatever was in memory before. So holes of the C layout are fields
//! here (`_hole0`), and [`Zeroed`] gives a value in which all of them are zero.

/// Types for which all-zero bytes are a valid value, implemented by the layout assertions.
///
/// # Safety
///
/// The type consists of integers, arrays of them, and structures and unions of such types.
pub unsafe trait Zeroed: Copy + 'static {
    /// The value whose bytes are all zero.
    #[must_use]
    fn zeroed() -> Self {
        // SAFETY: implementors hold integers only (the trait's contract), and zero is a valid
        // bit pattern for each of them.
        unsafe { core::mem::zeroed() }
    }
}

/// Asserts size and offsets of a type at compile time and implements [`Zeroed`] for it.
///
/// `struct NAME: SIZE, FIELD OFFSET, …` must list every field, and the fields must cover the size.
/// `union NAME: SIZE, FIELD, …` must list fields that each lie at offset 0.
macro_rules! layout {
    (struct $name:ident: $size:literal, $($field:ident $offset:literal),+ $(,)?) => {
        const _: () = {
            const fn width<T: Copy, F: Copy>(_: fn(T) -> F) -> usize {
                size_of::<F>()
            }
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)+
            assert!(0 $(+ width(|value: $name| value.$field))+ == $size);
            let _ = |value: $name| {
                let $name { $($field: _),+ } = value;
            };
        };
        // SAFETY: integers only, as for every structure of this crate.
        unsafe impl $crate::Zeroed for $name {}
    };
    (union $name:ident: $size:literal, $($field:ident),+ $(,)?) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == 0);)+
        };
        // SAFETY: integers only, as for every union of this crate.
        unsafe impl $crate::Zeroed for $name {}
    };
}
