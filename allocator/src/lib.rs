//! [mimalloc](https://docs.rs/mimalloc) as the programs of [grainstore](https://docs.rs/grainstore) use it.
//!
//! Models make and drop tensors of many megabytes all the time. The system's allocator gives each back and pages it in anew,
//! which took more time than the arithmetic. mimalloc gives everything back that was freed once a second, which still took a
//! fifth of the time that SAM's encoder takes; here it does so once a minute.
//!
//! This is a crate of its own because setting an option of mimalloc is a call of C, and nothing else of grainstore needs unsafe
//! code.

use core::ffi::c_long;

use libmimalloc_sys::{mi_option_get, mi_option_set_default, mi_option_t};

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which libmimalloc-sys does not name.
const PURGE_DELAY: mi_option_t = 15;
/// Milliseconds after which freed memory is given back to the system.
const KEPT_MS: c_long = 60_000;

/// Has mimalloc keep freed memory for a minute, unless the environment variable `MIMALLOC_PURGE_DELAY` says how many
/// milliseconds. Call it once, before there are other threads.
pub fn keep_freed_memory() {
    // SAFETY: the option exists, and the call changes nothing but its value.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) }
}

/// Milliseconds after which freed memory is given back to the system; -1 if never.
pub fn purge_delay_ms() -> c_long {
    // SAFETY: the option exists, and the call only reads its value.
    unsafe { mi_option_get(PURGE_DELAY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    #[test]
    fn the_option_is_the_delay_of_purging() {
        // What mimalloc has by itself: if its options were numbered anew, this would be another one.
        assert_eq!(purge_delay_ms(), 1000);
        keep_freed_memory();
        assert_eq!(purge_delay_ms(), 60_000);
    }
}
