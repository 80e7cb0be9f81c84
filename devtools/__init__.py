"""What developing the project needs: the toolchain, the test cluster, the demo. Nothing here is shipped."""
