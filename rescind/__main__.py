from rescind.cli.main import main

main()
