"""An adversary: random problems that nobody chose, trained and certified, held against brute force;
and spoilt inputs."""
