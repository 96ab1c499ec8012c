//! Loads libibverbs and finds its functions.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::ffi::{
    ibv_async_event, ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_device_attr, ibv_gid,
    ibv_gid_entry, ibv_mr, ibv_pd, ibv_port_attr, ibv_qp, ibv_qp_attr, ibv_qp_init_attr,
};
use crate::error::{Error, Result};

const NAME: &CStr = c"libibverbs.so.1";

macro_rules! functions {
    ($( fn $name:ident($($type:ty),* $(,)?) $(-> $back:ty)?; )*) => {
        /// The functions of libibverbs.
        #[derive(Debug)]
        pub struct Library {
            $( pub(super) $name: unsafe extern "C" fn($($type),*) $(-> $back)?, )*
        }

        impl Library {
            fn find(handle: *mut c_void) -> Result<Self> {
                Ok(Self { $( $name: {
                    const SYMBOL: &[u8] = concat!(stringify!($name), "\0").as_bytes();
                    // SAFETY: the handle is of a loaded library, the name ends with its only zero.
                    let found = unsafe { libc::dlsym(handle, SYMBOL.as_ptr().cast()) };
                    if found.is_null() {
                        return Err(missing(stringify!($name)));
                    }
                    // SAFETY: the symbol of this name in libibverbs.so.1 is the function that its
                    // header declares so; the soname promises that it stays so. The library is
                    // never unloaded.
                    unsafe {
                        std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn($($type),*) $(-> $back)?,
                        >(found)
                    }
                } ),* })
            }
        }
    };
}

functions! {
    fn ibv_get_device_list(*mut c_int) -> *mut *mut ibv_device;
    fn ibv_free_device_list(*mut *mut ibv_device);
    fn ibv_get_device_name(*mut ibv_device) -> *const c_char;
    fn ibv_open_device(*mut ibv_device) -> *mut ibv_context;
    fn ibv_close_device(*mut ibv_context) -> c_int;
    fn ibv_query_device(*mut ibv_context, *mut ibv_device_attr) -> c_int;
    fn ibv_query_port(*mut ibv_context, u8, *mut ibv_port_attr) -> c_int;
    fn ibv_query_gid(*mut ibv_context, u8, c_int, *mut ibv_gid) -> c_int;
    fn _ibv_query_gid_ex(*mut ibv_context, u32, u32, *mut ibv_gid_entry, u32, usize) -> c_int;
    fn ibv_query_pkey(*mut ibv_context, u8, c_int, *mut u16) -> c_int;
    fn ibv_get_async_event(*mut ibv_context, *mut ibv_async_event) -> c_int;
    fn ibv_ack_async_event(*mut ibv_async_event);
    fn ibv_alloc_pd(*mut ibv_context) -> *mut ibv_pd;
    fn ibv_dealloc_pd(*mut ibv_pd) -> c_int;
    fn ibv_create_comp_channel(*mut ibv_context) -> *mut ibv_comp_channel;
    fn ibv_destroy_comp_channel(*mut ibv_comp_channel) -> c_int;
    fn ibv_create_cq(*mut ibv_context, c_int, *mut c_void, *mut ibv_comp_channel, c_int) -> *mut ibv_cq;
    fn ibv_destroy_cq(*mut ibv_cq) -> c_int;
    fn ibv_get_cq_event(*mut ibv_comp_channel, *mut *mut ibv_cq, *mut *mut c_void) -> c_int;
    fn ibv_ack_cq_events(*mut ibv_cq, c_uint);
    fn ibv_create_qp(*mut ibv_pd, *mut ibv_qp_init_attr) -> *mut ibv_qp;
    fn ibv_modify_qp(*mut ibv_qp, *mut ibv_qp_attr, c_int) -> c_int;
    fn ibv_query_qp(*mut ibv_qp, *mut ibv_qp_attr, c_int, *mut ibv_qp_init_attr) -> c_int;
    fn ibv_destroy_qp(*mut ibv_qp) -> c_int;
    fn ibv_reg_mr_iova(*mut ibv_pd, *mut c_void, usize, u64, c_int) -> *mut ibv_mr;
    fn ibv_dereg_mr(*mut ibv_mr) -> c_int;
}

fn missing(function: &str) -> Error {
    Error::NoLibrary { library: "libibverbs.so.1", reason: format!("it has no {function}") }
}

impl Library {
    /// Loads libibverbs; it stays loaded.
    ///
    /// # Errors
    /// [`Error::NoLibrary`].
    pub fn load() -> Result<Arc<Self>> {
        // SAFETY: loading runs the initialisers of rdma-core's library, which need nothing of us; the
        // name is a C string.
        let handle = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlerror gives null or a C string that is valid until the next call of dl*.
            let reason = unsafe {
                let text = libc::dlerror();
                if text.is_null() {
                    "unknown".to_owned()
                } else {
                    CStr::from_ptr(text).to_string_lossy().into_owned()
                }
            };
            return Err(Error::NoLibrary { library: "libibverbs.so.1", reason });
        }
        Self::find(handle).map(Arc::new)
    }

    /// The names of this host's verbs devices.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.with_devices(|_, name| {
            names.push(name.to_owned());
            None::<()>
        });
        names
    }

    /// Shows the devices to `look` until it answers.
    pub(super) fn with_devices<R>(
        &self,
        mut look: impl FnMut(*mut ibv_device, &str) -> Option<R>,
    ) -> Option<R> {
        let mut count = 0;
        // SAFETY: the function writes the count and returns null or an array of that many devices,
        // which is ours until it is freed below; `look` keeps none of them beyond that, except by
        // opening it, which takes a reference of its own.
        unsafe {
            let list = (self.ibv_get_device_list)(&raw mut count);
            if list.is_null() {
                return None;
            }
            let mut found = None;
            for index in 0..usize::try_from(count).unwrap_or(0) {
                let device = *list.add(index);
                let name = CStr::from_ptr((self.ibv_get_device_name)(device));
                found = look(device, &name.to_string_lossy());
                if found.is_some() {
                    break;
                }
            }
            (self.ibv_free_device_list)(list);
            found
        }
    }
}
