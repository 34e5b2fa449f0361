//! The integration tests: one binary, each test with ports and folders of its own.

mod attacks;
mod bridges;
mod bridges_load;
mod bridges_pairs;
mod bridges_people;
mod bridges_ways;
mod browser;
mod cluster;
mod conformance;
mod crash;
mod faults;
mod folder;
mod judges;
mod live;
mod load;
mod mappings;
mod mutations;
mod partners;
mod protocol;
mod races;
mod refusals;
mod registry;
mod releases;
mod simulator;
mod traces;
mod workers;
