# Included last, when every rule is known.
check_targets(sys.argv[1:])
