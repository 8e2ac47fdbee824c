"""An adversary: random problems nobody chose, trained and certified, against verdicts made by brute force without saddlery's code."""
