# frozen_string_literal: true

require "captured"
require "fileutils"
require "tmpdir"
begin
  require "vagrant"
rescue LoadError
  # Told by each test that needs it.
end

# The Vagrantfile as Vagrant itself reads it, and what its VirtualBox provider would tell
# VBoxManage; VBoxManage alone is replaced, by a script that prints captured output.
class TestVagrantfile < Minitest::Test
  include Captured

  def setup
    skip "Vagrant as the distribution packages it is missing: apt-get install vagrant" unless defined?(Vagrant)
    Vagrant.plugin("2").manager.commands # loads what the providers need
    @home = Dir.mktmpdir
    @saved = ENV.to_h
    ENV["VAGRANT_HOME"] = @home
    ENV["KIT_VM_MAC"] = "02:57:4b:00:00:01"
    ENV["KIT_VM_BRIDGE"] = "enp5s0"
    script = "#!/bin/sh\ncat '#{__dir__}/captured/linux_bridgedifs.txt'\n"
    File.write("#{@home}/VBoxManage", script)
    File.chmod(0o755, "#{@home}/VBoxManage")
    ENV["PATH"] = "#{@home}:#{ENV.fetch('PATH')}"
    ENV["KIT_ANSIBLE"] = "host"
    ARGV.replace(%w[up --provider virtualbox])
  end

  def teardown
    return unless @home
    ARGV.clear
    ENV.replace(@saved)
    FileUtils.remove_entry(@home)
  end

  # A machine's configuration as `vagrant up` makes it.
  def configuration(name = :default)
    vagrantfile.machine_config(name, :virtualbox, nil, Pathname.new("#{@home}/local"), false)[:config]
  end

  def vagrantfile
    Vagrant::Environment.new(cwd: Dir.pwd, local_data_path: "#{@home}/local").vagrantfile
  end

  def test_virtualbox_gets_its_size_and_one_bridged_card_that_vagrant_leaves_down
    config = configuration
    assert_equal "bento/ubuntu-24.04-202510.26.0-amd64", config.vm.box if Vagrant::VERSION < "2.4"
    assert_equal "webdis-kit", config.vm.hostname
    assert config.ssh.insert_key
    type, network = config.vm.networks.find { |kind, _| kind == :public_network }
    assert_equal :public_network, type
    assert_equal ["enp5s0", "02574B000001", false], network.values_at(:bridge, :mac, :auto_config)
    sizes = config.vm.get_provider_config(:virtualbox).customizations.map(&:last)
    assert_includes sizes, ["modifyvm", :id, "--cpus", 2]
    assert_includes sizes, ["modifyvm", :id, "--memory", "2048"]
  end

  def test_the_card_joins_the_lan_before_anything_else_runs_in_the_guest
    first = configuration.vm.provisioners.first
    assert_equal [:shell, "vagrant/guest/join_lan.py"], [first.type, first.config.path]
    assert_equal "always", first.run.to_s
    assert_equal %w[--mac 02574B000001 --bridge enp5s0 --address dhcp --seconds 60], first.config.args
  end

  def test_vboxmanage_is_told_to_bridge_the_second_card
    told = vboxmanage_commands(configuration)
    assert_equal [["modifyvm", "uuid", "--nic1", "nat",
                   "--nic2", "bridged", "--bridgeadapter2", "enp5s0", "--cableconnected2", "on",
                   "--macaddress2", "02574B000001"]],
                 (told.map { |one| one.reject { |word| word.to_s.start_with?("--nictype") } })
  end

  def test_guest_ansible_follows_the_lan
    ENV["KIT_ANSIBLE"] = "guest"
    types = configuration.vm.provisioners.map { |one| [one.name, one.type] }
    assert_equal [[:lan, :shell], [:"control-node", :shell], [:server, :ansible_local], [:summary, :shell]], types
    assert_empty configuration.trigger.after_triggers, "VirtualBox shares the folder"
  end

  def test_what_guest_ansible_wrote_is_fetched_where_the_folder_is_not_shared
    ENV["KIT_ANSIBLE"] = "guest"
    ARGV.replace(%w[status --provider libvirt]) # `up` would look for the bridge
    triggers = configuration.trigger.after_triggers
    assert_equal %i[up reload provision], triggers.map(&:command)
    assert triggers.all?(&:ruby_block)
  end

  def test_this_host_provisions_whenever_vagrant_would
    triggers = configuration.trigger.after_triggers
    assert_equal %i[up reload provision], triggers.map(&:command)
    assert(triggers.all? { |trigger| trigger.run[:inline].end_with?("provision") })
  end

  def test_each_node_is_a_machine_and_ansible_runs_once_after_the_last
    ENV["NODES"] = "3"
    assert_equal %i[default server-2 server-3], vagrantfile.machine_names
    assert ENV.key?("VAGRANT_NO_PARALLEL"), "libvirt would start them side by side"
    machines = vagrantfile.machine_names.map { |name| configuration(name) }
    assert_equal %w[webdis-kit webdis-kit-2 webdis-kit-3], (machines.map { |config| config.vm.hostname })
    macs = machines.map { |config| config.vm.networks.find { |kind, _| kind == :public_network }.last[:mac] }
    assert_equal %w[02574B000001 02574B000002 02574B000003], macs
    assert_equal macs, (machines.map { |config| config.vm.provisioners.first.config.args[1] })
    assert_equal [0, 0, 3], (machines.map { |config| config.trigger.after_triggers.length })
  end

  def test_a_wrong_value_stops_vagrant_with_one_sentence
    wrong = { "KIT_VM_MEMORY_MIB" => "2GB" }
    _, said, status = Open3.capture3(wrong, "vagrant", "up", "--provider", "virtualbox", stdin_data: "")
    assert_equal 1, status.exitstatus
    assert_equal 'Error: memory_mib in the environment is "2GB"; it takes a number of MiB from 512 up, ' \
                 "without a unit: 2048.\n", said
  end

  private

  # Runs Vagrant's own network step with a driver that writes down instead of running.
  def vboxmanage_commands(config)
    told = []
    driver = VagrantPlugins::ProviderVirtualBox::Driver::Version_6_1.allocate
    driver.instance_variable_set(:@uuid, "uuid")
    bridgedifs = captured("linux_bridgedifs.txt")
    driver.define_singleton_method(:execute) do |*command, **_, &_block|
      next bridgedifs if command.first == "list"
      next "" if command.first == "showvminfo"

      told << command.reject { |word| word.is_a?(Hash) }
      ""
    end
    provider = Struct.new(:driver).new(driver)
    machine = Struct.new(:config, :provider, :provider_config)
                    .new(config, provider, config.vm.get_provider_config(:virtualbox))
    quiet = Vagrant::UI::Silent.new
    VagrantPlugins::ProviderVirtualBox::Action::Network.new(->(_) {}, {}).call({ machine: machine, ui: quiet })
    told
  end
end
