//! stack.toml: what makes fleet serve any application.
//!
//! Rule of this room: pure. A stack comes in as bytes by path, a release goes out as bytes by
//! destination; no application is known here, only what its folder says.

mod builtin;
mod context;
mod digest;
mod env;
mod load;
mod quote;
mod read;
mod render;
mod schema;
mod template;

pub use builtin::{BUILTINS, Builtin};
pub use digest::{context_digest, image_tag, sha256};
pub use env::{EnvInput, EnvValue, Origin, ResolvedEnv};
pub use load::StackFiles;
pub use quote::Unquotable;
pub use render::{ReleaseContext, RenderInput, Rendered, RenderedFile};
pub use schema::*;
