//! Ways in for those who feed spoiled bytes to what reads foreign ones (`tests/tests/fuzz`), where the
//! reader itself is nobody else's business. Nothing of the agent uses them, and so no program has them.
//!
//! Each takes bytes as they come and tells whether they were taken for what they should be. Where there
//! are bytes that are right, whoever writes them gives some.

pub use crate::ctl::fuzz as ctl;
pub use crate::handler::grpc::fuzz as grpc;
pub use crate::handler::http::fuzz as http;
pub use crate::logs::fuzz as logs;
pub use crate::resolver::fuzz as resolver;
pub use crate::runtime::oci::fuzz as runtime;
pub use crate::runtime::op::seccomp::fuzz as seccomp;
pub use crate::store::fuzz as store;
