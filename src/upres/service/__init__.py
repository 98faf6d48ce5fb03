"""HTTP and the page: pictures come by requests, by the same options and plans as the command's."""
