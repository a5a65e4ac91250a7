//! The application in this process, with a database and a Redis prefix of its own.
