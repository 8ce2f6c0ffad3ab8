//! The requests of the `wsk` command, byte for byte (openwhisk-api.md 10.2), over plain connections.
//!
//! `wsk` itself is in no registry. Each `*.http` here lists commands with the requests that they make; what differs from one
//! time to another stands in braces. Below a request, `=>` begins what the command needs of the answer (see [`expectation`]).

mod expectation;
mod replay;
mod story;

use replay::replay;

/// Declares a test for each file.
macro_rules! stories {
    ($($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                replay(include_str!(concat!(stringify!($name), ".http"))).await;
            }
        )*
    };
}

stories! {
    action
    activation
    namespace
    package
    sequence
    trigger
}
