# frozen_string_literal: true

require "captured"
require "tmpdir"

# Defaults, the local file over them, the environment over both; and every wrong value.
class TestSettings < Minitest::Test
  include Captured

  def settings(local: nil, environment: {})
    Dir.mktmpdir do |root|
      FileUtils.mkdir_p("#{root}/vagrant")
      FileUtils.cp("vagrant/settings.yml", "#{root}/vagrant/")
      File.write("#{root}/vagrant/settings.local.yml", local) if local
      return Kit::Settings.new(root, environment)
    end
  end

  def test_defaults_are_valid
    assert_equal [2, 2048, "dhcp", "webdis-kit"], %w[cpus memory_mib address hostname].map { |key| settings[key] }
  end

  def test_local_file_wins_over_defaults_and_the_environment_over_both
    both = settings(local: "cpus: 3\nmemory_mib: 1024\n", environment: { "KIT_VM_CPUS" => "4", "HOME" => "/" })
    assert_equal [4, 1024], [both["cpus"], both["memory_mib"]]
  end

  def test_unknown_key_names_the_valid_ones_and_the_likely_one
    text = mistake { settings(local: "memory: 2048\n") }
    assert_includes text, "memory in vagrant/settings.local.yml is not a setting"
    assert_includes text, "did you mean memory_mib?"
    assert_includes text, "Valid are: hostname, cpus, memory_mib, bridge, address"
    assert_includes mistake { settings(environment: { "KIT_VM_RAM" => "1" }) }, "ram in the environment"
  end

  def test_every_wrong_value_is_refused_with_what_is_valid
    {
      'memory_mib: "2048"' => "a number of MiB from 512 up",
      "memory_mib: 2GB" => "a number of MiB from 512 up",
      "memory_mib: 64" => "a number of MiB from 512 up",
      "cpus: 0" => "a number from 1 to 64",
      "hostname: web_dis" => "letters, digits and hyphens",
      "address: 192.168.1.300" => "dhcp, or an IPv4 address",
      "address: 192.168.1.5/24" => "dhcp, or an IPv4 address",
      "mac: 02:57:4b:00:01" => "six bytes such as",
      "mac: 03:57:4b:00:00:01" => "the first one even",
      "mac: 02:57-4b:00:00:01" => "six bytes such as",
      "libvirt_driver: xen" => "kvm or qemu",
      "dhcp_seconds: soon" => "a number from 5 to 3600",
      "boxes: none" => "a table of provider"
    }.each do |line, valid|
      text = mistake { settings(local: "#{line}\n") }
      assert_includes text, line.split(":").first
      assert_includes text, valid
    end
  end

  def test_a_file_that_is_no_table_is_one_sentence
    assert_includes mistake { settings(local: "- cpus\n") }, "must hold lines such as `cpus: 2`"
    assert_includes mistake { settings(local: "cpus: [\n") }, "is not valid YAML"
  end
end
