//! The integration tests: one binary, each test with ports and folders of its own.

mod bad_input;
mod browser;
mod crash;
mod live;
mod partners;
mod protocol;
mod races;
mod simulator;
mod storage;
