//! PROTOCOL.md, held to its word from outside: what clients see over sockets, over HTTP, and in
//! the bodies of the three kinds.

mod credentials;
mod http;
mod sockets;
mod vocabulary;
