//! What the kernel knows of its own clock.

use std::io;

/// Whether somebody (NTP, PTP) keeps the clock right: the kernel's `STA_UNSYNC` is not set.
pub fn is_synchronized() -> io::Result<bool> {
    // SAFETY: all of its fields are integers, for which zeros are a value; with no mode set the
    // call only reads.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole timex of ours.
    if unsafe { libc::adjtimex(&raw mut state) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        super::is_synchronized().expect("reading needs no privilege");
    }
}
