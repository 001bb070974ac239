//! The device and the precision of tensors: the one place where a backend is chosen, at run time.
//!
//! In: the values of `--device` and `--precision`. Out: burn's device, opened and tested, or an error that says what
//! this build or this machine lacks. Cargo features (`tch`, `cuda`, `wgpu`) decide which devices a build has; the CPU
//! is always there.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::options::one_of;
use crate::{Error, Result};

/// A device, as named on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// `cpu`: this machine's processors, through burn-flex.
    #[default]
    Cpu,
    /// `cuda:N`: an NVIDIA GPU, through CubeCL.
    Cuda(usize),
    /// `wgpu`: the GPU that Vulkan, Metal or DirectX prefers, through CubeCL.
    Wgpu,
    /// `tch:cpu`: this machine's processors, through libtorch.
    TchCpu,
    /// `tch:cuda:N`: an NVIDIA GPU, through libtorch.
    TchCuda(usize),
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let number = |text: &str| text.parse::<usize>().ok();
        let parts: Vec<&str> = name.split(':').collect();
        let device = match parts.as_slice() {
            ["cpu"] => Some(Self::Cpu),
            ["cuda"] => Some(Self::Cuda(0)),
            ["cuda", index] => number(index).map(Self::Cuda),
            ["wgpu"] => Some(Self::Wgpu),
            ["tch", "cpu"] => Some(Self::TchCpu),
            ["tch", "cuda"] => Some(Self::TchCuda(0)),
            ["tch", "cuda", index] => number(index).map(Self::TchCuda),
            _ => None,
        };
        device.ok_or_else(|| Error::InvalidOption {
            what: "device",
            value: name.to_owned(),
            expected: "cpu, cuda:0, wgpu, tch:cpu or tch:cuda:0".to_owned(),
        })
    }
}

impl fmt::Display for DeviceName {
    /// Writes the name as it is parsed: `tch:cuda:0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::TchCpu => f.write_str("tch:cpu"),
            Self::TchCuda(index) => write!(f, "tch:cuda:{index}"),
        }
    }
}

impl DeviceName {
    /// Opens the device and runs one operation on it, so that a missing GPU or driver is found here.
    ///
    /// # Errors
    /// [`Error::Device`] if this build lacks the backend, or the machine lacks the device.
    pub fn open(self) -> Result<Device> {
        let failed = |reason: String| Error::Device {
            device: self.to_string(),
            reason,
        };
        let works = catch_unwind(AssertUnwindSafe(|| {
            let device = self.backend()?;
            let two = Tensor::<1>::ones([2], &device).sum();
            match two.try_into_data() {
                Ok(_) => Ok(device),
                Err(error) => Err(error.to_string()),
            }
        }));
        match works {
            Ok(device) => device.map_err(failed),
            Err(panic) => Err(failed(panic_text(panic.as_ref()).to_owned())),
        }
    }

    // Deprecated upstream, but still the fastest way to use a GPU for those who have libtorch.
    #[cfg_attr(feature = "tch", allow(deprecated))]
    fn backend(self) -> Result<Device, String> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(Device::cuda(index)),
            #[cfg(feature = "wgpu-untuned")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "tch")]
            Self::TchCpu => Ok(Device::libtorch()),
            #[cfg(feature = "tch")]
            Self::TchCuda(index) => Ok(Device::libtorch_cuda(index)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => Err(not_built("cuda")),
            #[cfg(not(feature = "wgpu-untuned"))]
            Self::Wgpu => Err(not_built("wgpu")),
            #[cfg(not(feature = "tch"))]
            Self::TchCpu | Self::TchCuda(_) => Err(not_built("tch")),
        }
    }
}

#[cfg(not(all(feature = "cuda", feature = "wgpu-untuned", feature = "tch")))]
fn not_built(feature: &str) -> String {
    format!("this build of grainstore is without it; build with the feature '{feature}'")
}

/// Precision that a model computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// 16-bit floats.
    F16,
}

impl Precision {
    /// The type of the model's tensors.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// Checks that a device can compute in this precision.
    ///
    /// # Errors
    /// [`Error::Device`] if it cannot.
    pub fn check(self, name: DeviceName, device: &Device) -> Result<()> {
        if device.supports_dtype(self.dtype()) {
            return Ok(());
        }
        Err(Error::Device {
            device: name.to_string(),
            reason: format!("it does not compute in {self}; leave the precision out"),
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = [("f32", Self::F32), ("bf16", Self::Bf16), ("f16", Self::F16)];
        one_of("precision", text, &words)
    }
}

impl fmt::Display for Precision {
    /// Writes the name as it is parsed: `bf16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// The message of a panic. Backends panic where they cannot return an error.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
}

/// Whether a backend's panic or error reports exhausted memory: libtorch, CUDA and CubeCL have no common type for it.
pub(crate) fn is_out_of_memory(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "out of memory",
        "out-of-memory",
        "out_of_memory",
        "outofmemory",
        "buffertoobig",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "cuda:1", "wgpu", "tch:cpu", "tch:cuda:0"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceName>().unwrap(), DeviceName::Cuda(0));
        for name in ["gpu", "cuda:x", "tch", "cpu:0", ""] {
            let message = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(message.contains("tch:cuda:0"), "{message}");
        }
        for name in ["f32", "bf16", "f16"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        assert!("f64".parse::<Precision>().is_err());
    }

    #[test]
    fn the_cpu_is_always_there() {
        let device = DeviceName::Cpu.open().unwrap();
        Precision::F32.check(DeviceName::Cpu, &device).unwrap();
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_backend_left_out_is_named() {
        let message = DeviceName::Cuda(0).open().unwrap_err().to_string();
        assert!(
            message.contains("'cuda:0'") && message.contains("feature 'cuda'"),
            "{message}"
        );
    }

    #[test]
    fn exhausted_memory_is_recognised() {
        for text in [
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
            "An out-of-memory error happened during launch",
            "IoError::BufferTooBig { size: 1 }",
        ] {
            assert!(is_out_of_memory(text), "{text}");
        }
        assert!(!is_out_of_memory("index out of bounds"));
    }
}
