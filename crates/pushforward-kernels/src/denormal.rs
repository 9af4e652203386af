//! Flushing of denormal numbers to zero while a kernel runs.
//!
//! Below `2^-126`, float32 numbers are denormal, and processors handle them in microcode, a hundred times slower.
//! Gradients through tangents of a network whose gates start at zero are products of many small numbers and become
//! denormal: a step took 18 seconds instead of 0.7.

/// Guard that restores the processor's previous mode when dropped.
pub(super) struct Flushed {
    #[cfg(target_arch = "x86_64")]
    before: u32,
}

/// The bits flush-to-zero (results) and denormals-are-zero (operands) (Intel 64 manual, volume 1, section 10.2.3).
#[cfg(target_arch = "x86_64")]
const FLUSH: u32 = 1 << 15 | 1 << 6;

impl Flushed {
    /// Flushes denormal numbers on this thread from now on. Does nothing on other processors than x86-64, which are not
    /// slow.
    pub(super) fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let before = control();
            if before & FLUSH != FLUSH {
                set(before | FLUSH);
            }
            Self { before }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self {}
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.before & FLUSH != FLUSH {
            set(self.before);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn control() -> u32 {
    let mut word = 0u32;
    // SAFETY: stores the control word of this thread's floating-point unit to a variable.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
    word
}

#[cfg(target_arch = "x86_64")]
fn set(word: u32) {
    // SAFETY: loads a control word that was read here, with nothing but the two bits changed: rounding and masks stay.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags, readonly)) };
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn the_state_comes_back() {
        let half_of_the_least = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(half_of_the_least() > 0.0);
        {
            let _outer = Flushed::new();
            let _inner = Flushed::new();
            #[cfg(target_arch = "x86_64")]
            assert_eq!(half_of_the_least(), 0.0);
        }
        assert!(half_of_the_least() > 0.0);
    }
}
