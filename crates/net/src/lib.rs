//! Accept and drain, bodies and their limits, header rules: HTTP without knowledge of actions. Also what gateways of actions
//! need: carrying connections on, and firewall rules.

mod body;
mod forward;
mod link;
pub mod nft;
mod serve;
mod shutdown;

pub use body::{Body, BodyError, TooLarge, collect, empty, full};
pub use forward::forward;
pub use serve::{Options, URI_BYTES_MAX, serve};
pub use shutdown::Shutdown;
