//! Devices by name: which backends a build has, and opening one of them.
//!
//! # Examples
//! ```
//! use pushforward::device::{DeviceError, built, open};
//!
//! assert!(built().contains(&"cpu") && open("cpu").is_ok());
//! assert!(matches!(open("gpu"), Err(DeviceError::Unknown(_))));
//! ```

use burn::tensor::Device;

pub use crate::kernels::is_cpu;

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error("unknown device {0:?}: the choices are auto, cpu, wgpu, cuda and cuda:N")]
    Unknown(String),
    /// The backend is not part of this build.
    #[error("this build has no {name} backend: build with `cargo build --release --features {name}`, or use --device cpu (built in: {})", built().join(", "))]
    NotBuilt {
        /// Name of the backend.
        name: &'static str,
    },
    /// The backend is built in but finds no such device on this machine.
    #[error("no {name} device works on this machine ({reason}); use --device cpu")]
    Absent {
        /// Name of the device.
        name: String,
        /// Message of the backend.
        reason: String,
    },
}

/// Names of the backends of this build.
pub fn built() -> Vec<&'static str> {
    let mut names = vec!["cpu"];
    if cfg!(feature = "wgpu") {
        names.push("wgpu");
    }
    if cfg!(feature = "cuda") {
        names.push("cuda");
    }
    names
}

/// Opens a device by name: `auto`, `cpu`, `wgpu`, `cuda` or `cuda:N`.
///
/// `auto` is the first of CUDA and wgpu that is built in and works, and the CPU otherwise.
///
/// # Errors
/// If the name is unknown, the backend is not part of this build, or there is no such device.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    match name {
        "auto" => {
            let gpu = ["cuda", "wgpu"].into_iter().filter(|n| built().contains(n)).find_map(|n| open(n).ok());
            Ok(gpu.unwrap_or_else(Device::flex))
        }
        "cpu" => Ok(Device::flex()),
        "wgpu" => open_wgpu(),
        _ => match name
            .strip_prefix("cuda")
            .map(|rest| rest.strip_prefix(':').unwrap_or(if rest.is_empty() { "0" } else { "?" }))
        {
            Some(index) => open_cuda(index.parse().map_err(|_| DeviceError::Unknown(name.to_owned()))?),
            None => Err(DeviceError::Unknown(name.to_owned())),
        },
    }
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { name: "wgpu" })
}

#[cfg(feature = "wgpu")]
fn open_wgpu() -> Result<Device, DeviceError> {
    answering("wgpu", || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { name: "cuda" })
}

#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<Device, DeviceError> {
    answering(&format!("cuda:{index}"), || Device::cuda(index))
}

/// Opens a device and computes once on it: backends report a missing device by a panic, and only when first used.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn answering(name: &str, open: impl Fn() -> Device) -> Result<Device, DeviceError> {
    // Unwind-safe: the closure changes no state of this crate.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let device = open();
        let one: f32 = burn::tensor::Tensor::<1>::ones([1], &device).into_scalar();
        assert_eq!(one, 1.0, "the device computes");
        device
    }))
    .map_err(|panic| {
        let reason =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        DeviceError::Absent { name: name.to_owned(), reason: reason.unwrap_or_else(|| "it panicked".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(open("cpu").is_ok() && open("auto").is_ok());
        assert!(open("gpu").unwrap_err().to_string().contains("the choices are"));
        assert!(open("cudax").unwrap_err().to_string().contains("unknown device"));
        if !cfg!(feature = "cuda") {
            assert!(open("cuda:1").unwrap_err().to_string().contains("--features cuda"));
        }
    }
}
