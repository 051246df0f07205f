//! All that a container is made of: conditions, image, volumes, networks, inputs from the host, and the container.

pub(crate) mod conditions;
pub(crate) mod create;
pub(crate) mod credentials;
pub(crate) mod host_file;
pub(crate) mod host_inputs;
pub(crate) mod image_cache;
pub(crate) mod image_differences;
pub(crate) mod images;
pub(crate) mod resources;
pub(crate) mod secret_files;
