#compdef migrate.sh
# Completion of scripts/migrate.sh in zsh.  In ~/.zshrc, before compinit:  fpath=(/path/to/scripts/completions $fpath)

_arguments \
    '1:what to do:((apply\:"migrate the schema" plan\:"show what apply would do" seed\:"add sample data" reset\:"replace the preview database by a fresh one" status\:"one look at the database" diagnose\:"find what is broken"))' \
    '2:environment:->environment' \
    '*:option of ansible-playbook:(-e --check --diff --forks --vault-id -v)'

if [[ $state == environment ]]; then
    if [[ ${words[2]} == reset ]]; then
        _values environment preview
    else
        _values environment production preview
    fi
fi
