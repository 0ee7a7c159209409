from rescind.cli import main

main()
