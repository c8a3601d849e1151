//! A segment of format 1 as the first release wrote it: it is read forever and never written anew.
