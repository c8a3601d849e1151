//! The database as its users have it: real processes, real sockets, real files, `kill -9`.

mod backup;
mod cli;
mod cli_languages;
mod cold_reads;
mod crash;
mod damage;
mod deletes;
mod faults;
mod golden_data;
mod kernel;
mod kill_steps;
mod late_index;
mod preload;
mod process;
mod s3;
mod server;
mod tidy;
mod tier;
